# Starts processes that outlive their shell, and stops a process only if it is provably the one that was started.
# Sourced by scripts/services.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

say() { printf '%-11s %s\n' "$1" "$2"; }
complain() { printf '%-11s %s\n' "$1" "$2" >&2; }

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

pid_file() { echo "$state/run/$1.pid"; }
log_file() { echo "$state/log/$1.log"; }

# Prints when PID was started, in clock ticks of this boot. If the number was given to another process, this time
# differs.
birth_of() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  stat=${stat##*) } # the name, in brackets, may hold blanks
  read -ra stat <<<"$stat"
  [[ ${stat[0]} != [ZX] ]] || return 1 # dead, though its parent has not noticed yet
  echo "${stat[19]} $(</proc/sys/kernel/random/boot_id)"
}

# Prints the pid of PROCESS if the process that we started still runs.
pid_of() {
  local pid birth file
  file=$(pid_file "$1")
  [[ -s $file ]] || return 1
  read -r pid birth <"$file"
  [[ $(birth_of "$pid") == "$birth" ]] || return 1
  echo "$pid"
}

is_running() { pid_of "$1" >/dev/null; }

# launch PROCESS COMMAND...: starts it in a session of its own, without our terminal, input or lock.
launch() {
  local process=$1 log
  shift
  log=$(log_file "$process")
  mkdir -p "$state/run" "$state/log"
  [[ ! -e $log ]] || mv -f "$log" "$log.old"
  await_reaped "$process"
  setsid nohup "$@" </dev/null >"$log" 2>&1 9>&- &
  echo "$! $(birth_of $!)" >"$(pid_file "$process")"
}

# A killed server stays in the process table until its parent notices, and PostgreSQL would consider it alive.
await_reaped() {
  local pid _ deadline=$((SECONDS + stop_deadline_seconds))
  [[ -s $(pid_file "$1") ]] || return 0
  read -r pid _ <"$(pid_file "$1")"
  while grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.1; done
}

# halt PROCESS SIGNAL: sends the signal, waits, and kills the process only if it is still there.
halt() {
  local process=$1 signal=$2 pid deadline
  if pid=$(pid_of "$process"); then
    send "$signal" "$pid"
    deadline=$((SECONDS + stop_deadline_seconds))
    while is_running "$process" && ((SECONDS < deadline)); do sleep 0.1; done
    if is_running "$process"; then
      complain "$process" "did not stop within ${stop_deadline_seconds} s, killed"
      send KILL "$pid"
      while is_running "$process"; do sleep 0.1; done
    fi
  fi
  rm -f "$(pid_file "$process")"
}

# The process may just have ended, and it may belong to another user (PostgreSQL).
send() { kill -s "$1" "$2" 2>/dev/null || ! [[ -d /proc/$2 ]] || as_root kill -s "$1" "$2" || true; }

# Waits until SERVICE answers; shows the end of its log if it dies or is late.
await_ready() {
  local service=$1 deadline=$((SECONDS + ready_deadline_seconds))
  until "${service}_ready" >/dev/null 2>&1; do
    runs "$service" || { show_logs "$service" "ended while starting"; return 1; }
    ((SECONDS < deadline)) || { show_logs "$service" "not ready after ${ready_deadline_seconds} s"; return 1; }
    sleep 0.2
  done
}

show_logs() {
  local process
  for process in $(processes_of "$1"); do
    complain "$1" "$2; the end of $(log_file "$process"):"
    tail -n 20 "$(log_file "$process")" >&2
  done
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Names a port that another program holds at once, not after a time-out.
require_free_port() {
  local service=$1 port=$2
  port_answers "$port" || return 0
  complain "$service" "port 127.0.0.1:$port is in use by a program that this script did not start; stop it, or choose another port with ${port_variable[$service]}"
  return 1
}

# Prints the mount points at or below a folder, deepest first.
mounts_below() {
  awk -v top="$1" '$5 == top || index($5, top "/") == 1 { print $5 }' /proc/self/mountinfo | sort -r
}

# Removes a folder, but refuses if anything is mounted in it: a mounted /dev or a database would be removed too.
remove_tree() {
  local tree=$1 mounted
  [[ $tree == "$cache"/* || $tree == "$state"/* ]] || { complain services "will not remove $tree"; return 1; }
  [[ -e $tree ]] || return 0
  mounted=$(mounts_below "$(realpath "$tree")")
  if [[ -n $mounted ]]; then
    complain services "will not remove $tree: ${mounted//$'\n'/, } is mounted in it"
    return 1
  fi
  as_root rm -rf --one-file-system "$tree"
}
