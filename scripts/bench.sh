#!/usr/bin/env bash
# `make bench`: ours beside stock kubeadm + kubelet + containerd, on lab hosts of the same kind, in one run. Prints tables; a run
# of everything writes them to docs/BENCH.md. Nothing is asserted: numbers are for people. docs/TESTING.md says what is measured.
#   scripts/bench.sh [SIDE...] [PART...]      sides: ours reference; parts: init kubelet pods join apply; default: all
#   RUNS=3            clusters for each number of init, and workers that join
#   SUITE=trixie      the hosts' Debian: trixie (Docker 26, containerd 1.7) or bookworm (Docker 20.10, containerd 1.6)
#   PODS=10           pods beside those of the cluster while the kubelet is idle, for IDLE_SECONDS=60 after SETTLE_SECONDS=20
#   POD_RUNS=50       pods one at a time; BURST=20 pods at once, BURST_RUNS=3 times
#   APPLY_WORKERS="2"   workers of the clusters that apply makes, one cluster for each number
#   INIT_DEADLINE=300 seconds for one cluster, then the bench ends with the kubelet's journal
#   PROFILE=release   cargo profile of the binaries; LEVEL=19, the bundle's zstd level
#   BINARIES=DIR      junioadm, junio-kubelet, junio-bundle and bundle.jbundle of DIR as they are; nothing is built
#   BENCH_OUT=FILE    where the tables go
source "$(dirname "$0")/common.sh"

RUNS=${RUNS:-3} SUITE=${SUITE:-trixie} PODS=${PODS:-10} IDLE_SECONDS=${IDLE_SECONDS:-60} SETTLE_SECONDS=${SETTLE_SECONDS:-20}
POD_RUNS=${POD_RUNS:-50} BURST=${BURST:-20} BURST_RUNS=${BURST_RUNS:-3} PROFILE=${PROFILE:-release} LEVEL=${LEVEL:-19}
APPLY_WORKERS=${APPLY_WORKERS:-2}
INIT_DEADLINE=${INIT_DEADLINE:-300} # seconds for one cluster
PAUSE=registry.k8s.io/pause:3.10.2
SIDES=() PARTS=()
for argument in "$@"; do
  case $argument in
    ours) SIDES+=(ours) ;;
    reference | stock) SIDES+=(stock) ;;
    init | kubelet | pods | join | apply) PARTS+=("$argument") ;;
    -h | --help) sed -n '2,/^source/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) fail "unknown argument $argument" "scripts/bench.sh --help" ;;
  esac
done
ALL=
[ "${#SIDES[@]}${#PARTS[@]}" != 00 ] || ALL=1
[ "${#SIDES[@]}" != 0 ] || SIDES=(ours stock)
[ "${#PARTS[@]}" != 0 ] || PARTS=(init kubelet pods join apply)
for number in RUNS PODS IDLE_SECONDS SETTLE_SECONDS POD_RUNS BURST BURST_RUNS LEVEL INIT_DEADLINE; do
  [[ ${!number} =~ ^[1-9][0-9]*$ ]] || fail "$number must be a number above 0, not '${!number}'" "$number=3 scripts/bench.sh"
done
need_root
wanted() { [[ " ${PARTS[*]} " = *" $1 "* ]]; }
has_side() { [[ " ${SIDES[*]} " = *" $1 "* ]]; }

exec 8>"$CACHE/bench.lock"
flock -n 8 || fail "a bench is running on this machine already" "wait for it to end"

WORK=$(mktemp -dt junio-bench.XXXXXX)
LOG=$LOG_DIR/bench.log
case $PROFILE in ci) BUNDLE=$CACHE/bundle.jbundle ;; *) BUNDLE=$CACHE/bundle-$PROFILE.jbundle ;; esac
BUNDLE=${JUNIOADM_BUNDLE:-$BUNDLE} BIN_DIR=$CARGO_TARGET_DIR/$TARGET/$PROFILE
BUILT="cargo profile \`$PROFILE\`, bundle of zstd level $LEVEL"
if [ -n "${BINARIES:-}" ]; then BIN_DIR=$BINARIES BUNDLE=$BINARIES/bundle.jbundle BUILT="binaries as given"; fi
JUNIOADM=$BIN_DIR/junioadm JUNIO_BUNDLE=$BIN_DIR/junio-bundle
for file in values hosts ours stock kubelet client pods join report; do
  # shellcheck source=/dev/null
  source "$ROOT/scripts/bench/$file.sh"
done

UP=() FINISHED=
cleanup() {
  local side
  if [ -z "$FINISHED" ] && [ -n "$(ls "$VALUES")" ]; then echo "the bench did not end; measured so far:" >&2; report >&2 || true; fi
  client_watch_end
  for side in "${UP[@]}"; do lab_down "$side"; done
  rm -rf "$WORK"
}

build() {
  [ -z "${BINARIES:-}" ] || return 0
  step "Building junioadm and junio-kubelet with profile $PROFILE, and their bundle (log: $LOG)"
  cargo build --manifest-path "$ROOT/Cargo.toml" --locked --profile "$PROFILE" --workspace --bins >"$LOG" 2>&1 ||
    { tail -n 40 "$LOG" >&2; fail "the Rust build failed (log: $LOG)"; }
  "$JUNIO_BUNDLE" build --source "$ROOT/bundle" --cache "$CACHE" --out "$BUNDLE" --level "$LEVEL" \
    --kubelet "$BIN_DIR/junio-kubelet" --junioadm "$JUNIOADM" >>"$LOG" 2>&1 || { tail -n 20 "$LOG" >&2; fail "the bundle could not be built (log: $LOG)"; }
}

# busy: how many percent of this machine's cores are in use, over three seconds.
busy() {
  local before
  before=$(head -n 1 /proc/stat)
  sleep 3
  { echo "$before"; head -n 1 /proc/stat; } | awk '{ all = 0; for (i = 2; i <= 9; i++) all += $i; idle = $5 + $6; if (NR == 1) { a = all; b = idle } }
    END { printf "%.0f", 100 * (1 - (idle - b) / (all - a)) }'
}

# init_part: rounds take turns, so that a change in the machine's load meets both sides.
init_part() {
  local round side
  for round in $(seq "$RUNS"); do
    for side in "${SIDES[@]}"; do
      "${side}_round" "$round"
      if [ "$round" = "$RUNS" ]; then on_cluster "$side"; fi
      lab_down "$side"
    done
  done
}

# on_cluster SIDE: what is measured on a cluster that is there.
on_cluster() {
  ! wanted kubelet || kubelet_figures "$1"
  ! wanted pods || pod_measures "$1"
}

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ -n "${BINARIES:-}" ] || "$ROOT/scripts/setup.sh" >/dev/null
disk_room
build
COMMIT=$(git -C "$ROOT" rev-parse --short HEAD)$(git -C "$ROOT" diff --quiet HEAD -- . ':!docs/BENCH.md' 2>/dev/null || echo ' (with changes)')
MACHINE=$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)
OTHERS_BUSY=$(busy)
[ "$OTHERS_BUSY" -lt 10 ] || note "the machine is busy with something else ($OTHERS_BUSY % of its cores): these numbers will be worth little"
UP=("${SIDES[@]}")
! has_side stock || build_reference
if wanted init; then
  init_part
elif wanted kubelet || wanted pods; then
  for side in "${SIDES[@]}"; do "${side}_cluster"; on_cluster "$side"; lab_down "$side"; done
fi
if wanted join; then
  for side in "${SIDES[@]}"; do join_measures "$side"; lab_down "$side"; done
fi
if wanted apply && has_side ours; then apply_measures; fi
FINISHED=1
OUT=${BENCH_OUT:-${ALL:+$ROOT/docs/BENCH.md}}
report | tee "${OUT:-/dev/null}"
