# All settings: versions, ports, folders and addresses. Sourced by scripts/services.
# shellcheck shell=bash disable=SC2034 # the variables are used by the files that source this one

readonly kafka_version=4.1.0
readonly registry_version=3.0.9
readonly postgres_major=17
readonly debian_release=trixie # the first Debian release with TimescaleDB for that PostgreSQL

readonly all_services=(kafka registry redis postgres prometheus)
readonly ready_deadline_seconds=120
readonly stop_deadline_seconds=30

cache=${INTERLOCK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/interlock}
state=${INTERLOCK_STATE:-$cache/state}

brokers=${INTERLOCK_BROKERS:-1}
kafka_extra=${INTERLOCK_KAFKA_EXTRA:-} # a file with more lines for each broker, for example listeners with TLS
kafka_port=${INTERLOCK_KAFKA_PORT:-9092}
# Ports of proxies, one in front of each broker, for tests with a bad network.
IFS=, read -ra kafka_proxies <<<"${INTERLOCK_KAFKA_PROXIES:-}"
registry_port=${INTERLOCK_REGISTRY_PORT:-8081}
redis_port=${INTERLOCK_REDIS_PORT:-6379}
postgres_port=${INTERLOCK_POSTGRES_PORT:-5432}
prometheus_port=${INTERLOCK_PROMETHEUS_PORT:-9090}

# The ports at which Prometheus scrapes workers of this machine.
readonly worker_metrics_ports=(9464 9465 9466 9467 9468 9469)

# The variable that tells Interlock the address of a service, and its value if this script runs the service.
declare -rA address_variable=(
  [kafka]=INTERLOCK_KAFKA_BOOTSTRAP_SERVERS
  [registry]=INTERLOCK_SCHEMA_REGISTRY_URL
  [redis]=INTERLOCK_REDIS_URL
  [postgres]=INTERLOCK_DATABASE_URL
  [prometheus]=INTERLOCK_PROMETHEUS_URL
)
declare -A own_address=(
  [registry]=http://127.0.0.1:$registry_port/apis/ccompat/v7
  [redis]=redis://127.0.0.1:$redis_port
  [postgres]=postgres://interlock@127.0.0.1:$postgres_port/interlock
  [prometheus]=http://127.0.0.1:$prometheus_port
)
# Several brokers have consecutive ports.
own_address[kafka]=127.0.0.1:$kafka_port
for ((broker = 2; broker <= brokers; broker++)); do
  own_address[kafka]+=,127.0.0.1:$((kafka_port + broker - 1))
done

# The variable that sets the port of a service.
declare -rA port_variable=(
  [kafka]=INTERLOCK_KAFKA_PORT
  [registry]=INTERLOCK_REGISTRY_PORT
  [redis]=INTERLOCK_REDIS_PORT
  [postgres]=INTERLOCK_POSTGRES_PORT
  [prometheus]=INTERLOCK_PROMETHEUS_PORT
)
