# Drains a backlog as fast as possible. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see scripts/bench

# measure_drain ROW REPEAT: one run; appends a line to `runs`.
measure_drain() {
  local row=$1 repeat=$2 setting options audit
  local -A of=([workers]=1 [partitions]=8 [trains]=500 [masters]=1 [brokers]=1 [requests]=$requests [before]=0)
  for setting in $(tail -n +2 <<<"${row//,/$'\n'}"); do of[${setting%=*}]=${setting#*=}; done
  local name=${row%%,*}
  local topology=${name%:*} threads=${name#*:}
  options=(--threads "$threads") audit=()
  [[ $topology == all ]] || { options+=(--topology "$topology"); audit=(--skip-windows); }

  prepare "$topology" "${of[brokers]}" "${of[masters]}" "${of[partitions]}" "${of[trains]}"
  sizes >"$work/empty"
  if ((of[before] > 0)); then
    backlog "${of[before]}" $((repeat + 1000))
    start_workers 1 "${options[@]}"
    drain "${of[before]}" >/dev/null || give_up "$row: the requests before were not decided" "$work/worker.log"
    stop_workers TERM
  fi
  backlog "${of[requests]}" "$repeat"

  costs >"$work/before" 2>/dev/null
  start_workers "${of[workers]}" "${options[@]}"
  drain "${of[requests]}" >"$work/drain" || give_up "$row: the backlog was not drained" "$work/worker.log"
  costs >"$work/after"
  metrics >"$work/metrics"
  audit --wait 60 "${audit[@]}"
  stop_workers TERM
  figures "$row" "${of[requests]}" --before "${of[before]}" --drain "$work/drain"
}

# prepare TOPOLOGY BROKERS MASTERS PARTITIONS TRAINS: empty servers with a timetable on sale.
prepare() {
  start_servers "$1" "$2" "$3"
  export INTERLOCK_TOPICS_REPLICATION=$2 INTERLOCK_TOPICS_PARTITIONS=$4
  put_on_sale "$5"
}

# put_on_sale TRAINS
put_on_sale() {
  [[ -d $work/feed-$1 ]] || "$scripts/bench.d/timetable" "$work/feed-$1" "$1"
  : >"$work/worker.log"
  "$interlock" seed --gtfs "$work/feed-$1" >"$work/seed.log" 2>&1 || give_up "the timetable was not seeded" "$work/seed.log"
}

# backlog REQUESTS SEED
backlog() {
  "$interlock" loadgen --profile backlog --requests "$1" --seed "$2" --no-wait >"$work/load.log" 2>&1 ||
    give_up "the backlog was not written" "$work/load.log"
}

# drain REQUESTS: prints `seconds applied CPU` from the start of the workers until all requests are decided; fails if
# there is no progress for a minute.
drain() {
  local wanted=$1 applied=0 last=0 quiet=0 began=$EPOCHREALTIME
  until ((applied >= wanted)); do
    workers_live || return 1
    applied=$(applied)
    awk -v now="$EPOCHREALTIME" -v began="$began" -v applied="$applied" -v cpu="$(cpu_of "${worker_pids[@]}")" \
      'BEGIN { print now - began, applied, cpu }'
    if ((applied > last)); then quiet=0; else quiet=$((quiet + 1)); fi
    # A batch that was applied before a thread started over is sent again without being counted. A partition that
    # changes its owner shows no lag for two seconds.
    if ((quiet > 20 && applied > 0)) && is_drained; then return; fi
    ((quiet < 300)) || { echo "bench: $applied of $wanted are decided, without progress for a minute" >&2; return 1; }
    last=$applied
    sleep 0.2
  done
}

# Prints the requests decided by the workers. The windows count their own records separately.
applied() { metrics | awk '/^interlock_records_applied_total{topology="booking"/ { sum += $2 } END { printf "%d\n", sum }'; }

# Succeeds if the workers have read the backlog to its end.
is_drained() {
  metrics | awk '/^interlock_lag_records{topology="booking"/ { partitions++; lag += $2 } END { exit !(partitions && lag == 0) }'
}

# audit OPTION...: the run counts only if it passes.
audit() {
  "$interlock" audit --settled --json "$@" >"$work/audit" 2>"$work/audit.log" || { cat "$work/audit" >&2; give_up "the audit did not pass" "$work/audit.log"; }
}

# figures ROW REQUESTS OPTION...: appends a run's figures.
figures() {
  local row=$1 count=$2
  shift 2
  python3 "$scripts/bench.d/figures.py" "$row" "$count" --work "$work" "$@" | tee -a "$work/runs"
}
