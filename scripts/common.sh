# Sourced by the other scripts: where things live, and how progress is told. Bash only.
# Owner of the cache layout below; junio-lab and junio-bundle use the same directories.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/junioadm
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}
TARGET=x86_64-unknown-linux-musl
# Binaries that tests and `make cluster` use (cargo profile `ci`).
BIN_DIR=$CARGO_TARGET_DIR/$TARGET/ci
# The bundle that `make cluster` and the machine ring put on hosts.
BUNDLE=${JUNIOADM_BUNDLE:-$CACHE/bundle.jbundle}
LOG_DIR=$CACHE/log
TOOLS_DIR=$CACHE/tools
mkdir -p "$LOG_DIR"

if [ -t 2 ]; then BOLD=$'\e[1m' RESET=$'\e[0m'; else BOLD='' RESET=''; fi

# step TEXT: one line that says what happens now.
step() { printf '%s==> %s%s\n' "$BOLD" "$*" "$RESET" >&2; }
note() { printf '    %s\n' "$*" >&2; }
# fail TEXT [NEXT-STEP]: one sentence of cause, then what to type.
fail() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf 'next:  %s\n' "$2" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" = 0 ] || fail "this needs root: it installs packages, starts Docker and makes lab hosts" "run it as root"
}
have() { command -v "$1" >/dev/null 2>&1; }

# disk_room: a kubelet whose images' disk has less than 15 % left reports DiskPressure, and nothing is scheduled there.
disk_room() {
  local directory free
  directory=$(docker info -f '{{.DockerRootDir}}')
  read -r free <<<"$(df --output=size,avail "$directory" | awk 'NR == 2 { printf "%.1f", 100 * $2 / $1 }')"
  awk -v free="$free" 'BEGIN { exit free < 17 }' ||
    fail "the disk of $directory has $free % left, and lab hosts want 17: below 15 % nodes report DiskPressure and nothing starts there" "make room there"
}
