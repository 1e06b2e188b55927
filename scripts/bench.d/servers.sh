# Starts servers of the benchmark's own beside running ones, so that no other data is touched, and measures their cost.
# Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see scripts/bench and settings.sh

readonly first_master_port=16380
readonly warm_up_s=60

own_servers() {
  unset INTERLOCK_CONFIG
  export INTERLOCK_STATE=$cache/bench INTERLOCK_SERVICES=packages
  export INTERLOCK_KAFKA_PORT=19092 INTERLOCK_REGISTRY_PORT=18081 INTERLOCK_REDIS_PORT=16379 INTERLOCK_POSTGRES_PORT=15432
  export INTERLOCK_LOG_FILTER=warn
  state=$INTERLOCK_STATE worker_pids=() master_count=1 rows_run=0
  trap stop_everything EXIT
  stop_servers # of an interrupted run
}

# start_servers TOPOLOGY BROKERS MASTERS: starts empty servers, but keeps a Kafka and a registry that already run. With
# several masters, Redis is a cluster without replicas.
start_servers() {
  # Addresses that the user or the row before has set would be used instead.
  unset INTERLOCK_REDIS_CLUSTER "${address_variable[@]}"
  if [[ $warm == "$2" ]]; then
    stop_stores
  else
    stop_servers
    export INTERLOCK_BROKERS=$2
    warm_up
    warm=$2
  fi
  master_count=$3
  # Kafka may still be removing the data of a group with the same name.
  export INTERLOCK_APPLICATION_ID=bench-$((++rows_run))
  local stores=()
  [[ $1 != all ]] || stores+=(postgres)
  ((master_count > 1)) || stores+=(redis)
  ((${#stores[@]} == 0)) || "$scripts/services" start --fresh "${stores[@]}" >/dev/null
  eval "$("$scripts/services" env)"
  remove_topics
  ((master_count == 1)) || start_masters
}

# A broker that was just started spends more CPU on compiling itself than on its work: 25 CPU-seconds for a million
# requests were measured before this warm-up, 7 after it.
warm_up() {
  master_count=1
  export INTERLOCK_APPLICATION_ID=bench-warm-up INTERLOCK_TOPICS_REPLICATION=$INTERLOCK_BROKERS INTERLOCK_TOPICS_PARTITIONS=8
  "$scripts/services" start --fresh kafka registry redis >/dev/null
  eval "$("$scripts/services" env)"
  put_on_sale 500
  start_workers 1 --topology booking --threads 4
  steady_load 20000 "$warm_up_s" 0 >/dev/null
  stop_workers TERM
  stop_stores
}

# Removes the topics and their records; the next row creates them again.
remove_topics() {
  local tool=(kafka_java org.apache.kafka.tools.TopicCommand --bootstrap-server "$INTERLOCK_KAFKA_BOOTSTRAP_SERVERS") topics
  topics=$("${tool[@]}" --list 2>"$work/topics.log") || give_up "the topics were not listed" "$work/topics.log"
  topics=$(sed '/^__/d' <<<"$topics" | paste -sd '|')
  [[ -z $topics ]] || "${tool[@]}" --delete --topic "$topics" >"$work/topics.log" 2>&1 || give_up "the topics were not removed" "$work/topics.log"
}

start_masters() {
  local number port slots=16384 urls=()
  for ((number = 0; number < master_count; number++)); do
    port=$((first_master_port + number))
    require_free_port redis "$port"
    remove_tree "$state/master-$number"
    mkdir -p "$state/master-$number"
    launch "master-$number" redis-server "$scripts/redis/redis.conf" --bind 127.0.0.1 --port "$port" --cluster-enabled yes \
      --dir "$state/master-$number" --daemonize no
    urls+=("redis://127.0.0.1:$port")
  done
  for ((number = 0; number < master_count; number++)); do
    port=$((first_master_port + number))
    until [[ $(redis-cli -p "$port" ping 2>/dev/null) == PONG ]]; do sleep 0.1; done
    redis-cli -p "$port" cluster addslotsrange $((slots * number / master_count)) $((slots * (number + 1) / master_count - 1)) >/dev/null
    redis-cli -p "$port" cluster set-config-epoch $((number + 1)) >/dev/null
    redis-cli -p "$port" cluster meet 127.0.0.1 "$first_master_port" >/dev/null
  done
  for ((number = 0; number < master_count; number++)); do
    until redis-cli -p $((first_master_port + number)) cluster info | grep -q 'cluster_state:ok'; do sleep 0.1; done
  done
  INTERLOCK_REDIS_URL=$(IFS=,; echo "${urls[*]}")
  export INTERLOCK_REDIS_URL INTERLOCK_REDIS_CLUSTER=true
}

stop_servers() {
  warm=''
  "$scripts/services" stop --wipe kafka registry >/dev/null
  stop_stores
}

stop_stores() {
  local number
  "$scripts/services" stop --wipe redis postgres >/dev/null
  for number in 0 1 2 3 4 5; do
    halt "master-$number" TERM
    remove_tree "$state/master-$number"
  done
}

stop_everything() {
  stop_workers KILL
  stop_servers
  [[ -z ${work:-} ]] || rm -rf "$work"
}

# start_workers COUNT ARGUMENT...
start_workers() {
  local count=$1 number
  shift
  for ((number = 0; number < count; number++)); do
    "$interlock" run "$@" --metrics-listen "127.0.0.1:$((metrics_port + number))" 2>>"$work/worker.log" &
    worker_pids+=($!)
  done
}

stop_workers() {
  local pid
  for pid in "${worker_pids[@]}"; do kill -s "$1" "$pid" 2>/dev/null || true; done
  for pid in "${worker_pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  worker_pids=()
}

# Prints the metrics of all workers.
metrics() {
  local number
  for ((number = 0; number < ${#worker_pids[@]}; number++)); do
    curl -sf "http://127.0.0.1:$((metrics_port + number))/metrics" || true
  done
}

workers_are_ready() {
  local number
  for ((number = 0; number < ${#worker_pids[@]}; number++)); do
    curl -sf "http://127.0.0.1:$((metrics_port + number))/readyz" >/dev/null || return 1
  done
}

workers_live() {
  local pid
  for pid in "${worker_pids[@]}"; do kill -0 "$pid" 2>/dev/null || return 1; done
}

# Prints the CPU seconds of processes and of their children that have ended.
cpu_of() {
  local pid
  for pid in "$@"; do cat "/proc/$pid/stat" 2>/dev/null || true; done |
    awk -v hertz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); sum += $12 + $13 + $14 + $15 } END { print sum / hertz }'
}

# Prints the pids of the processes whose names in scripts/services begin with the argument.
pids_of() { cat "$state/run/$1"*.pid 2>/dev/null | cut -d' ' -f1; }

# Prints the CPU seconds of each part, a line each, and the workers' largest peak in MiB.
costs() {
  local pid
  # shellcheck disable=SC2046 # several numbers are wanted
  {
    echo "kafka $(cpu_of $(pids_of kafka-))"
    echo "redis $(cpu_of $(pids_of redis) $(pids_of master-))"
    # A closed session is included in its parent's time.
    [[ -z $(pids_of postgres) ]] || echo "postgres $(cpu_of $(pids_of postgres) $(pgrep -P "$(pids_of postgres)"))"
    echo "worker $(cpu_of "${worker_pids[@]}")"
  }
  for pid in "${worker_pids[@]}"; do
    awk '/VmHWM/ { print "worker_peak_mib", $2 / 1024 }' "/proc/$pid/status"
  done
  sizes
}

# Prints the bytes stored in Redis and Kafka. Kafka's index files are sparse, so their length means nothing; removed
# files disappear a minute later.
sizes() {
  echo "redis_bytes $(redis_bytes)"
  du -s --block-size=1 --exclude='*-delete' "$state/kafka" | awk '{ print "kafka_bytes", $1 }'
}

redis_bytes() {
  local number port=$INTERLOCK_REDIS_PORT
  for ((number = 0; number < master_count; number++)); do
    ((master_count == 1)) || port=$((first_master_port + number))
    redis-cli -p "$port" info memory
  done | awk -F: '/^used_memory:/ { sum += $2 } END { printf "%d\n", sum }'
}

# Fails the benchmark with the end of a log.
give_up() {
  tail -n 20 "$2" >&2
  fail "$1"
}
