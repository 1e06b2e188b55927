# TimescaleDB. Debian has it for PostgreSQL 17 only from release 13 on. On an older machine it runs in a small tree of
# that release (a chroot), which shares only its data folder with the machine. Sourced by scripts/services.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

postgres_bin=/usr/lib/postgresql/$postgres_major/bin
postgres_tree=$cache/postgres-$postgres_major-$debian_release
postgres_data=$state/postgres

on_host() { [[ -x $postgres_bin/postgres && -e /usr/lib/postgresql/$postgres_major/lib/timescaledb.so ]]; }

postgres_needs() { on_host || [[ -d $postgres_tree ]] || echo debootstrap=debootstrap; }

postgres_install() { on_host || fill_once "$postgres_tree" postgres_bootstrap; }

postgres_bootstrap() {
  say postgres "installing PostgreSQL $postgres_major and TimescaleDB into a tree of Debian $debian_release (700 MB)"
  quietly "$cache/log/debootstrap.log" as_root debootstrap --variant=minbase \
    --include="ca-certificates,postgresql-$postgres_major,postgresql-$postgres_major-timescaledb" \
    "$debian_release" "$1"
  as_root chroot "$1" apt-get clean
}

postgres_processes() { echo postgres; }
postgres_ports() { echo "$postgres_port"; }

# Prints the data folder as the server sees it. Within the tree, each state folder has a mount point of its own, so that
# two states can share one tree.
postgres_folder() {
  if on_host; then echo "$postgres_data"; else echo "/srv/interlock-$(cksum <<<"$postgres_data" | cut -d' ' -f1)"; fi
}

# as_postgres COMMAND...: PostgreSQL refuses to run as root.
as_postgres() {
  if ! on_host; then
    as_root chroot --userspec=postgres:postgres "$postgres_tree" "$@"
  elif ((EUID == 0)); then
    setpriv --reuid=postgres --regid=postgres --init-groups "$@"
  else
    "$@"
  fi
}

postgres_launch() {
  local folder setting settings=()
  folder=$(postgres_folder)
  postgres_make_folder "$folder"
  # This mark follows a finished initdb. Without it, the folder is the remains of an interrupted one.
  as_root test -e "$postgres_data/interlock-ready" || postgres_initialise "$folder"
  while IFS= read -r setting; do settings+=(-c "$setting"); done < <(grep -E '^[a-z]' "$scripts/postgres/postgresql.conf")
  launch_as_postgres "$postgres_bin/postgres" -D "$folder" -c listen_addresses=127.0.0.1 -c port="$postgres_port" \
    -c unix_socket_directories= "${settings[@]}"
}

# `launch` needs a command, not a function: the command must become the server, so that the pid is the server's.
launch_as_postgres() {
  local prefix=()
  ((EUID == 0)) || on_host || prefix=(sudo)
  if ! on_host; then
    prefix+=(chroot --userspec=postgres:postgres "$postgres_tree")
  elif ((EUID == 0)); then
    prefix=(setpriv --reuid=postgres --regid=postgres --init-groups)
  fi
  launch postgres "${prefix[@]}" "$@"
}

postgres_make_folder() {
  local owner inside=$postgres_tree$1
  as_root mkdir -p "$postgres_data"
  if ! on_host; then
    as_root mkdir -p "$inside"
    unmount_below "$inside" # a killed run may have left a mount of a folder that no longer exists
    as_root mount --bind "$postgres_data" "$inside"
  fi
  owner=$(as_postgres id -u):$(as_postgres id -g)
  as_root chown "$owner" "$postgres_data"
  as_root chmod 700 "$postgres_data"
}

postgres_initialise() {
  as_root find "$postgres_data" -mindepth 1 -delete
  as_postgres "$postgres_bin/initdb" -D "$1" -A trust --encoding=UTF8 --locale=C.UTF-8 >/dev/null
  as_root touch "$postgres_data/interlock-ready"
}

postgres_ready() { sql postgres 'select 1'; }

# The role may create databases, so that each test can have its own.
postgres_prepare() {
  [[ $(sql postgres "select 1 from pg_roles where rolname = 'interlock'") == 1 ]] ||
    sql postgres 'create role interlock login createdb'
  [[ $(sql postgres "select 1 from pg_database where datname = 'interlock'") == 1 ]] ||
    sql postgres 'create database interlock owner interlock'
  sql interlock 'set client_min_messages = warning; create extension if not exists timescaledb'
}

# sql DATABASE STATEMENT, as the superuser.
sql() {
  as_postgres "$postgres_bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$postgres_port" -U postgres -d "$1" -c "$2"
}

postgres_stopped() { on_host || unmount_below "$postgres_tree$(postgres_folder)"; }

# The signal for a "fast" shutdown, which ends sessions instead of waiting for them.
postgres_stop_signal() { echo INT; }
