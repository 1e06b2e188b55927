# Apache Kafka in KRaft mode, each broker also a controller. Sourced by scripts/services.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

kafka_home=$cache/kafka-$kafka_version
readonly kafka_cluster_id=InterlockLocalClusterA # any 22 characters of base64

kafka_needs() { echo java=openjdk-17-jre-headless kcat=kcat; [[ -d $kafka_home ]] || echo mvn=maven; }

kafka_install() { fill_once "$kafka_home" kafka_download; }

kafka_download() {
  say kafka "downloading $kafka_version (124 MB)"
  quietly "$cache/log/kafka.log" mvn -B -f "$scripts/kafka/pom.xml" -Dkafka.version="$kafka_version" -Dmaven.repo.local="$1/repository" \
    dependency:copy-dependencies -DoutputDirectory="$1/lib"
  rm -rf "$1/repository"
}

kafka_processes() {
  local node
  for ((node = 1; node <= brokers; node++)); do echo "kafka-$node"; done
}

broker_port() { echo $((kafka_port + $1 - 1)); }
controller_port() { echo $((kafka_port + 99 + $1)); }
proxied_port() { echo $((kafka_port + 199 + $1)); }

kafka_ports() {
  local node
  for ((node = 1; node <= brokers; node++)); do
    broker_port "$node"
    controller_port "$node"
    ((${#kafka_proxies[@]} == 0)) || proxied_port "$node"
  done
}

kafka_launch() {
  local node
  kafka_same_size
  for ((node = 1; node <= brokers; node++)); do
    is_running "kafka-$node" || broker_launch "$node"
  done
}

# The controllers' names are part of the data, so a cluster cannot be enlarged by starting more brokers.
kafka_same_size() {
  local file=$state/kafka/brokers
  mkdir -p "$state/kafka"
  [[ -e $file ]] || echo "$brokers" >"$file"
  [[ $(<"$file") == "$brokers" ]] || {
    complain kafka "the data in $state/kafka belong to $(<"$file") broker(s), not $brokers: start --fresh kafka"
    return 1
  }
}

broker_launch() {
  local node=$1 folder=$state/kafka/$1
  mkdir -p "$folder"
  broker_properties "$node" >"$folder/server.properties"
  [[ -e $folder/data/meta.properties ]] || quietly "$folder/format.log" kafka_java -Xmx256m kafka.tools.StorageTool format --ignore-formatted \
    --cluster-id "$kafka_cluster_id" --config "$folder/server.properties"
  # A batch of a megabyte fills half a region of the default size: each would be allocated separately and start a
  # marking of the heap.
  launch "kafka-$node" java -Xms256m -Xmx1g -XX:G1HeapRegionSize=8m -cp "$kafka_home/lib/*" \
    -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
    kafka.Kafka "$folder/server.properties"
}

kafka_java() { java -cp "$kafka_home/lib/*" "$@"; }

# Prints the shared settings, then those of this node. If a name occurs twice, the last value counts.
broker_properties() {
  local node=$1 other voters=()
  for ((other = 1; other <= brokers; other++)); do voters+=("$other@127.0.0.1:$(controller_port "$other")"); done
  cat "$scripts/kafka/server.properties"
  cat <<PROPERTIES

process.roles=broker,controller
node.id=$node
controller.quorum.voters=$(IFS=,; echo "${voters[*]}")
listeners=CLIENTS://127.0.0.1:$(broker_port "$node"),CONTROLLER://127.0.0.1:$(controller_port "$node")
advertised.listeners=CLIENTS://127.0.0.1:$(broker_port "$node")
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs=$state/kafka/$node/data
PROPERTIES
  ((brokers < 3)) || replicated_properties
  ((${#kafka_proxies[@]} == 0)) || proxied_properties "$node"
  [[ -z $kafka_extra ]] || cat "$kafka_extra"
}

# Prints a second listener, which advertises the proxy's address, so that its clients stay behind the proxy.
proxied_properties() {
  local node=$1
  cat <<PROPERTIES
listeners=CLIENTS://127.0.0.1:$(broker_port "$node"),CONTROLLER://127.0.0.1:$(controller_port "$node"),PROXIED://127.0.0.1:$(proxied_port "$node")
advertised.listeners=CLIENTS://127.0.0.1:$(broker_port "$node"),PROXIED://127.0.0.1:${kafka_proxies[node - 1]}
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
PROPERTIES
}

# Prints the settings with which a cluster survives the loss of a broker.
replicated_properties() {
  cat <<PROPERTIES
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
PROPERTIES
}

# Succeeds once every broker is in the metadata that clients get, and therefore registered and unfenced.
kafka_ready() {
  local answer
  answer=$(kcat -b "${own_address[kafka]}" -m 2 -L) || return 1
  [[ $(grep -c '^  broker ' <<<"$answer") == "$brokers" ]]
}
