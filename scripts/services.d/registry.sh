# Apicurio Registry, for its Confluent-compatible API. Sourced by scripts/services.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

registry_home=$cache/apicurio-registry-$registry_version

registry_needs() { echo java=openjdk-17-jre-headless curl=curl; [[ -d $registry_home ]] || echo mvn=maven; }

registry_install() { fill_once "$registry_home" registry_download; }

registry_download() {
  local repository=$1/repository
  say registry "downloading Apicurio Registry $registry_version"
  quietly "$cache/log/registry.log" mvn -B dependency:get -Dtransitive=false -Dmaven.repo.local="$repository" \
    -Dartifact="io.apicurio:apicurio-registry-app:$registry_version:tar.gz:all"
  tar -xzf "$repository/io/apicurio/apicurio-registry-app/$registry_version/apicurio-registry-app-$registry_version-all.tar.gz" -C "$1"
  rm -rf "$repository"
}

registry_processes() { echo registry; }
registry_ports() { echo "$registry_port"; }

# The schemas are kept in a file, as the ids in Kafka's records must still be valid after a restart.
registry_launch() {
  mkdir -p "$state/registry"
  launch registry java -Xmx512m \
    -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$registry_port" \
    -Dapicurio.datasource.url="jdbc:h2:file:$state/registry/schemas" \
    -jar "$registry_home/apicurio-registry-app-$registry_version-runner.jar"
}

registry_ready() { curl -fsS -m 5 "${own_address[registry]}/subjects"; }
