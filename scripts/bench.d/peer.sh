# Compares Interlock with the Kafka Streams application of benches/kafka-streams, in turns on the same broker. Sourced
# by scripts/bench.
# shellcheck shell=bash disable=SC2034,SC2154 # settings of scripts/bench; what is read elsewhere or assigned there

readonly peer_source=benches/kafka-streams
# Two collectors of garbage and a heap that never grows were the cheapest on a machine with few cores.
readonly peer_jvm=(-Xms2g -Xmx3g -XX:+UseParallelGC -XX:ParallelGCThreads=2)
readonly peer_outcomes=(confirmed waitlist cancelled rejected)
readonly meter_warm_up_s=15 # the meter and the peer are compiled while they run
peers_run=0

require_peer_tools() {
  local tool
  for tool in java javac mvn; do
    command -v "$tool" >/dev/null || fail "$tool is missing; --peer builds a Java program with Maven: apt-get install openjdk-17-jdk-headless maven"
  done
}

# Builds into the cache; Maven only compiles what has changed.
build_peer() {
  peer_home=$cache/peer
  mkdir -p "$peer_home"
  mvn -B -q -f "$peer_source/pom.xml" -Dkafka.version="$kafka_version" -Dmaven.repo.local="$cache/peer-repository" \
    -Dpeer.output="$peer_home" compile >"$work/peer-build.log" 2>&1 || give_up "the peer was not built" "$work/peer-build.log"
  peer_java=(java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$peer_home/classes:$peer_home/lib/*")
}

# measure_against_peer: all groups, `repeats` times.
measure_against_peer() {
  local repeat group
  build_peer
  for ((repeat = 1; repeat <= repeats; repeat++)); do
    for group in $rows; do "compare_$group" "$repeat"; done
  done
}

# Prints the programs in the order in which they take turns: every other time backwards, so that none always runs on
# what another has left behind.
in_turns() {
  local repeat=$1
  shift
  if ((repeat % 2)); then printf '%s\n' "$@"; else printf '%s\n' "$@" | tac; fi
}

compare_drain() {
  local program
  prepare booking 1 1 8 500
  backlog "$requests" "$1"
  for program in $(in_turns "$1" interlock peer:rocksdb peer:memory); do
    sizes >"$work/empty"
    case $program in
      interlock) drain_interlock booking "$threads" ;;
      peer:*) drain_peer booking "$threads" "${program#peer:}" ;;
    esac
  done
}

compare_windows() {
  local program
  prepare all 1 1 8 500
  backlog "$requests" "$1"
  for program in $(in_turns "$1" interlock peer:memory); do
    sizes >"$work/empty"
    case $program in
      interlock) drain_interlock all "$threads" ;;
      peer:*) drain_peer all "$threads" "${program#peer:}" ;;
    esac
  done
}

# One generator and meter serves both programs, with requests that Interlock's generator has made.
compare_steady() {
  local program count=$((rate * (seconds + meter_warm_up_s)))
  prepare booking 1 1 8 500
  backlog "$count" "$1"
  "${peer_java[@]}" peer.tools.Recorder --bootstrap "$INTERLOCK_KAFKA_BOOTSTRAP_SERVERS" --to "$work/requests" >"$work/recorder.log" 2>&1 ||
    give_up "the requests were not recorded" "$work/recorder.log"
  for program in $(in_turns "$1" interlock peer:rocksdb); do
    prepare booking 1 1 8 500
    sizes >"$work/empty"
    case $program in
      interlock) meter_interlock ;;
      peer:*) meter_peer "${program#peer:}" ;;
    esac
  done
}

# drain_interlock TOPOLOGY THREADS
drain_interlock() {
  local options=(--threads "$2") audit=()
  [[ $1 == all ]] || { options+=(--topology "$1"); audit=(--skip-windows); }
  costs >"$work/before" 2>/dev/null
  start_workers 1 "${options[@]}"
  drain_all "$1" "$1:$2"
  metrics >"$work/metrics"
  audit --wait 60 "${audit[@]}"
  stop_workers TERM
  figures "$1:$2" "$requests" --drain "$work/drain"
}

# drain_peer TOPOLOGY THREADS STORE
drain_peer() {
  local row=peer-$1:$2,store=$3
  new_peer "$3"
  costs >"$work/before" 2>/dev/null
  start_peer "$3" --threads "$2" --windows "$([[ $1 == all ]] && echo on || echo off)"
  drain_all "$1" "$row"
  : >"$work/metrics"
  stop_workers TERM
  verify_peer "$([[ $1 == all ]] && echo on || echo off)"
  figures "$row" "$requests" --drain "$work/drain"
}

# drain_all TOPOLOGY ROW: drains the backlog, and waits until the windows have followed: their work is part of the cost.
drain_all() {
  drain "$requests" >"$work/drain" || give_up "$2: the backlog was not drained" "$work/worker.log"
  if [[ $1 == all ]]; then
    until windows_are_drained; do workers_live || give_up "$2: a worker ended" "$work/worker.log"; sleep 0.2; done
  fi
  costs >"$work/after"
}

# Succeeds if the windows have read all outcomes.
windows_are_drained() {
  metrics | awk '/^interlock_lag_records{topology="(occupancy|revenue)"/ { partitions++; lag += $2 } END { exit !(partitions && lag == 0) }'
}

# new_peer STORE: an application of its own for each run, with empty topics.
new_peer() {
  peer_application=peer-$((++peers_run))-$1
  "${peer_java[@]}" peer.tools.Topics --bootstrap "$INTERLOCK_KAFKA_BOOTSTRAP_SERVERS" --application "$peer_application" --partitions 8 \
    >"$work/topics.log" 2>&1 || give_up "the peer's topics were not created" "$work/topics.log"
  rm -rf "$work/peer-state"
}

# start_peer STORE OPTION...
start_peer() {
  local store=$1
  shift
  "${peer_java[@]}" "${peer_jvm[@]}" peer.BookingApplication --bootstrap "$INTERLOCK_KAFKA_BOOTSTRAP_SERVERS" \
    --registry "$INTERLOCK_SCHEMA_REGISTRY_URL" --application "$peer_application" --store "$store" --state-dir "$work/peer-state" \
    --metrics-port "$metrics_port" "$@" >"$work/worker.log" 2>&1 &
  worker_pids+=($!)
}

# verify_peer WINDOWS: the run counts only if the outcomes are right.
verify_peer() {
  "${peer_java[@]}" -Xmx6g peer.tools.Verifier --bootstrap "$INTERLOCK_KAFKA_BOOTSTRAP_SERVERS" --registry "$INTERLOCK_SCHEMA_REGISTRY_URL" \
    --application "$peer_application" --windows "$1" >"$work/audit" 2>"$work/audit.log" || { cat "$work/audit" >&2; give_up "the peer's outcomes are wrong" "$work/audit.log"; }
}

meter_interlock() {
  start_workers 1 --topology booking --threads "$threads"
  await_workers
  # An event begins with its ledger and sequence; then comes the offset of its request.
  meter 2 confirmed waitlist cancelled rejected
  metrics >"$work/metrics"
  audit --wait 60 --skip-windows
  stop_workers TERM
  metered "meter:$rate,threads=$threads"
}

meter_peer() {
  new_peer "$1"
  start_peer "$1" --threads "$threads" --commit-ms 20 --linger-ms 20
  await_workers
  meter 0 "${peer_outcomes[@]/#/$peer_application-}"
  : >"$work/metrics"
  stop_workers TERM
  verify_peer off
  metered "peer-meter:$rate,threads=$threads,store=$1"
}

# meter NUMBERS_BEFORE TOPIC...: leaves the latencies in `steady`, and the costs before and after.
meter() {
  local before=$1 line
  shift
  "${peer_java[@]}" -Xmx1g -XX:+UseParallelGC -XX:ParallelGCThreads=2 peer.tools.Meter --bootstrap "$INTERLOCK_KAFKA_BOOTSTRAP_SERVERS" \
    --requests "$work/requests" --rate "$rate" --seconds "$seconds" --warm-up "$meter_warm_up_s" \
    --numbers-before "$before" --outcomes "$(IFS=,; echo "$*")" 2>"$work/load.log" |
    while read -r line; do
      case $line in
        begin) costs >"$work/before" ;;
        end) costs >"$work/after" ;;
        *) echo "$line" >"$work/steady" ;;
      esac
    done || give_up "nothing was measured" "$work/load.log"
}

# metered ROW: a rate that was not kept up has no latency but that of its queue.
metered() {
  if is_kept_up; then
    figures "$1" $((rate * seconds)) --before $((rate * meter_warm_up_s)) --steady "$work/steady"
  else
    echo "bench: $1: the rate can't be kept up here; choose a lower one with --rate" >&2
    echo "{\"row\": \"$1\", \"figures\": {}}" >>"$work/runs"
  fi
}
