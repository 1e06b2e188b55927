# Measures how long the ledgers of a killed worker wait. Sourced by scripts/bench.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see scripts/bench

# scripts/chaos has servers of its own, and runs the audit itself. It prints everything, including the table, to
# standard error.
measure_fail_over() {
  stop_servers
  unset INTERLOCK_APPLICATION_ID INTERLOCK_TOPICS_REPLICATION INTERLOCK_TOPICS_PARTITIONS
  "$scripts/chaos" --failover --release --bookings "$bookings" --repeats "$repeats" &>"$work/failover" ||
    give_up "the fail-over was not measured" "$work/failover"
  grep '^|' "$work/failover" || give_up "the fail-over has no table" "$work/failover"
  python3 "$scripts/bench.d/figures.py" failover 0 --work "$work" --failover "$work/failover" | tee -a "$work/runs"
}
