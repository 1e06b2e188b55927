# The containers of docker-compose.yml, where a Docker daemon answers. Sourced by scripts/services.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

docker_answers() {
  command -v docker >/dev/null && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
}

compose() { docker compose -f "$scripts/../docker-compose.yml" "$@"; }

docker_start() { compose up --detach --wait "$@"; }
docker_stop() { compose stop "$@"; }
docker_wipe() { compose rm --force --stop --volumes "$@"; }
docker_runs() { [[ -n $(compose ps --quiet --status running "$1") ]]; }
