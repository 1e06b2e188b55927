# Prometheus, which scrapes the workers of this machine. Sourced by scripts/services.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

prometheus_needs() { echo prometheus=prometheus curl=curl; }
prometheus_install() { :; }
prometheus_processes() { echo prometheus; }
prometheus_ports() { echo "$prometheus_port"; }

prometheus_launch() {
  mkdir -p "$state/prometheus"
  prometheus_config >"$state/prometheus/prometheus.yml"
  launch prometheus prometheus --config.file="$state/prometheus/prometheus.yml" \
    --storage.tsdb.path="$state/prometheus/data" --web.listen-address="127.0.0.1:$prometheus_port"
}

# Prints the file that docker-compose.yml uses, with the workers' ports on this machine as targets.
prometheus_config() {
  local port targets=()
  for port in "${worker_metrics_ports[@]}"; do targets+=("\"127.0.0.1:$port\""); done
  sed "s/- targets: .*/- targets: [$(IFS=,; echo "${targets[*]}")]/" "$scripts/../deploy/prometheus.yml"
}

prometheus_ready() { curl -fsS -m 5 "${own_address[prometheus]}/-/ready"; }
