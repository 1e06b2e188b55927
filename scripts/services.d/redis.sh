# Redis, for the ledgers. Sourced by scripts/services.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

redis_needs() { echo redis-server=redis-server redis-cli=redis-tools; }
redis_install() { :; }
redis_processes() { echo redis; }
redis_ports() { echo "$redis_port"; }

redis_launch() {
  mkdir -p "$state/redis"
  launch redis redis-server "$scripts/redis/redis.conf" --bind 127.0.0.1 --port "$redis_port" --dir "$state/redis" --daemonize no
}

redis_ready() { [[ $(redis-cli -h 127.0.0.1 -p "$redis_port" ping) == PONG ]]; }
