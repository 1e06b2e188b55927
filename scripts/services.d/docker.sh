# Runs the containers of docker-compose.yml if a Docker daemon answers. Sourced by scripts/services.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

docker_answers() {
  command -v docker >/dev/null && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
}

# The second file puts Prometheus on the machine's own network, where the workers listen.
compose() {
  INTERLOCK_STATE=$state docker compose -f "$scripts/../docker-compose.yml" -f "$scripts/../deploy/docker-compose.services.yml" "$@"
}

docker_start() {
  ((brokers == 1)) || { complain kafka "docker-compose.yml has one broker; INTERLOCK_SERVICES=packages can start $brokers"; return 1; }
  mkdir -p "$state/prometheus"
  prometheus_config >"$state/prometheus/prometheus.yml"
  compose up --detach --wait "$@"
}

docker_stop() { compose stop "$@"; }

# Each volume has the name of its service.
docker_wipe() {
  compose rm --force --stop --volumes "$@"
  docker volume rm --force "${@/#/interlock_}"
}

docker_runs() { [[ -n $(compose ps --quiet --status running "$1") ]]; }
