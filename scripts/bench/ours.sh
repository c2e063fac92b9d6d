# Sourced by scripts/bench.sh: junioadm's side.
# shellcheck shell=bash

# ours_host [WORKERS]: hosts as they are before `junioadm init`: Docker, junioadm and the bundle on disk, nothing loaded.
ours_host() {
  lab_up ours "${1:-0}"
  cluster_config ours | on ours 'cat >/root/init.yaml'
}

ours_load_images() {
  on ours 'junioadm init phase images --config /root/init.yaml' >"$LOG" 2>&1 || fail "the images could not be loaded: $(tail -n 3 "$LOG")"
}

# ours_init KEY: makes the cluster and records its times under KEY; the report of init stays in $WORK/KEY.json.
ours_init() {
  init_observed ours "$1" 'junioadm init --config /root/init.yaml --output json'
  on ours 'cat /root/command-1.out' >"$WORK/$1.json"
  on ours 'cat /root/command-1.err' >"$WORK/$1.events"
}

# Once cold, once with everything loaded, and again on the finished host. Leaves the cluster of the second.
ours_round() {
  local start
  step "ours, nothing loaded, run $1 of $RUNS"
  ours_host
  ours_init ours.cold
  step "ours, images loaded, run $1 of $RUNS"
  ours_host
  ours_load_images
  ours_init ours.warm
  step "ours, init again on the finished host, run $1 of $RUNS"
  start=$(on ours 'start=$EPOCHREALTIME; junioadm init --config /root/init.yaml >/root/again.log 2>&1 && echo "$start $EPOCHREALTIME"') ||
    { on ours 'tail -n 20 /root/again.log' >&2; fail "a second init failed"; }
  record ours.again.command-1 "$(minus "${start#* }" "${start% *}")"
}

ours_cluster() {
  ours_host
  ours_load_images
  ours_init ours.unmeasured
}
