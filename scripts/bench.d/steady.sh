# Sends requests at a constant rate, and measures how long their outcomes take. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see scripts/bench

declare -A kept # the rate of each row that was kept up

# measure_steady ROW REPEAT: one run. The generator sends by the clock, independent of the answers; latency counts from
# the intended time. At a rate that isn't kept up, the latency would be that of the queue, so half of the rate is
# measured.
measure_steady() {
  local row=$1 repeat=$2 rate threads=4
  rate=${row#latency:}
  [[ $rate != *,threads=* ]] || threads=${rate#*,threads=}
  rate=${kept[$row]:-${rate%,*}}
  until steady "$rate" "$threads" "$repeat"; do
    echo "bench: $rate requests/s can't be kept up here; measuring half of it" >&2
    echo "{\"row\": \"latency:$rate,threads=$threads\", \"figures\": {}}" >>"$work/runs"
    rate=$((rate / 2))
    ((rate > 0)) || fail "no rate can be kept up"
  done
  kept[$row]=$rate
  figures "latency:$rate,threads=$threads" $((rate * seconds)) --before $((rate * 5)) --steady "$work/steady"
}

# steady_load RATE SECONDS SEED: prints the figures.
steady_load() {
  "$interlock" loadgen --profile backlog --rate "$1" --requests $(($1 * $2)) --seed "$3" --json 2>"$work/load.log" ||
    give_up "not every request was answered" "$work/load.log"
}

# steady RATE THREADS SEED: false if the rate was not kept up.
steady() {
  prepare booking 1 1 8 500
  sizes >"$work/empty"
  start_workers 1 --topology booking --threads "$2"
  await_workers
  # Opening the train-dates and warming the caches is not measured.
  steady_load "$1" 5 $(($3 + 1000)) >/dev/null
  costs >"$work/before"
  steady_load "$1" "$seconds" "$3" >"$work/steady"
  costs >"$work/after"
  metrics >"$work/metrics"
  audit --wait 60 --skip-windows
  stop_workers TERM
  is_kept_up
}

await_workers() {
  until workers_are_ready; do workers_live || give_up "the program did not start" "$work/worker.log"; sleep 0.1; done
}

# Succeeds if the last answer was hardly late. It may be somewhat, but no queue may have grown.
is_kept_up() {
  python3 -c 'import json, sys; exit(json.load(open(sys.argv[1]))["elapsed_s"] > 1.02 * float(sys.argv[2]) + 1)' "$work/steady" "$seconds"
}
