# Installs missing Debian packages, and fills folders of the cache so that each is complete or absent. Sourced by
# scripts/services and scripts/test.
# shellcheck shell=bash disable=SC2154 # what is not assigned here is a setting: see settings.sh

# need COMMAND=PACKAGE...: installs the packages whose command is missing.
need() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

install_packages() {
  command -v apt-get >/dev/null || { complain packages "missing: $*; without apt-get they must be installed by hand"; return 1; }
  say packages "installing $*"
  as_root apt-get update -qq
  without_daemons as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# Debian starts a daemon as soon as it is installed, on the very port we want; a policy-rc.d prevents that.
without_daemons() {
  local policy=/usr/sbin/policy-rc.d result=0
  if [[ -e $policy ]] && ! grep -q 'by interlock' "$policy"; then
    "$@"
    return
  fi
  printf '#!/bin/sh\n# by interlock, while it installs packages\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod +x "$policy"
  "$@" || result=$?
  as_root rm -f "$policy"
  return "$result"
}

# fill_once FOLDER FUNCTION: FUNCTION fills a temporary folder, which is renamed when it is complete. So a later run
# never uses the remains of an interrupted download.
fill_once() {
  local folder=$1 fill=$2
  [[ ! -d $folder ]] || return 0
  mkdir -p "$cache"
  (
    flock 8
    [[ ! -d $folder ]] || exit 0
    unmount_below "$folder.partial"
    remove_tree "$folder.partial"
    mkdir -p "$folder.partial"
    "$fill" "$folder.partial"
    mv -T "$folder.partial" "$folder"
  ) 8>"$folder.lock"
}

# An interrupted debootstrap leaves its /proc mounted.
unmount_below() {
  local mount
  [[ -d $1 ]] || return 0
  while read -r mount; do
    as_root umount "$mount"
  done < <(mounts_below "$(realpath "$1")")
}

# quietly LOG COMMAND...: shows a command's output only if it fails.
quietly() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 || { complain packages "failed: $*; the end of $log:"; tail -n 20 "$log" >&2; return 1; }
}
