# Redis, for the ledgers. Sourced by scripts/services.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

redis_needs() { echo redis-server=redis-server redis-cli=redis-tools; }
redis_install() { :; }
redis_processes() { echo redis; }
redis_ports() { echo "$redis_port"; }

# The server runs on a copy: CONFIG REWRITE, by an operator or a sentinel, writes into the file that it was started
# with.
redis_launch() {
  mkdir -p "$state/redis"
  cp "$scripts/redis/redis.conf" "$state/redis/redis.conf"
  launch redis redis-server "$state/redis/redis.conf" --bind 127.0.0.1 --port "$redis_port" --dir "$state/redis" --daemonize no
}

redis_ready() { [[ $(redis-cli -h 127.0.0.1 -p "$redis_port" ping) == PONG ]]; }
