# Sourced by scripts/bench.sh: lab hosts and commands on them. A side is `ours` or `stock`; its lab is bench-SIDE.
# shellcheck shell=bash

on() { # SIDE-OR-LAB-HOST COMMAND: in a shell on the first host of a side, or on the named host
  local host=$1
  case $host in ours | stock) host=bench-$1-1 ;; esac
  docker exec -i "$host" bash -o pipefail -c "export KUBECONFIG=/etc/kubernetes/admin.conf; $2"
}

address() { docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }

# The lab of a side anew, with the given number of workers; the scripts that run on a host are put in place.
lab_up() {
  local side=$1 workers=${2:-0} number
  lab_down "$side" # what a bench that was killed may have left
  "$JUNIOADM" lab up "bench-$side" --hosts-only --workers "$workers" --suite "$SUITE" --bundle "$BUNDLE" >"$LOG" 2>&1 ||
    fail "the lab bench-$side did not come up: $(tail -n 3 "$LOG")"
  for number in $(seq $((workers + 1))); do
    docker cp -q "$ROOT/scripts/bench/observe.sh" "bench-$side-$number:/root/observe.sh"
    docker cp -q "$ROOT/scripts/bench/figures.sh" "bench-$side-$number:/root/figures.sh"
  done
}

lab_down() {
  docker network inspect "junioadm-lab-bench-$1" >/dev/null 2>&1 || [ -n "$(docker ps -aqf "name=^bench-$1-")" ] || return 0
  "$JUNIOADM" lab down "bench-$1" >"$LOG" 2>&1 || note "the lab bench-$1 could not be taken down: $(tail -n 1 "$LOG")"
}

unit() { case $1 in ours) echo junio-kubelet ;; stock) echo kubelet ;; esac; }

# show_failure SIDE: all that a reader needs to see why a command failed there.
show_failure() {
  local side=$1 file
  for file in $(on "$side" 'ls /root/command-*.err /root/command-*.out 2>/dev/null'); do
    printf -- '--- end of %s of %s\n' "$file" "$side" >&2
    on "$side" "tail -n 25 $file" >&2 || true
  done
  printf -- '--- end of the journal of %s\n' "$(unit "$side")" >&2
  on "$side" "journalctl -u $(unit "$side") --no-pager -o cat | cut -c1-400 | tail -n 40" >&2 || true
  printf -- '--- pods and containers\n' >&2
  on "$side" 'timeout 5 kubectl get pods -A -o wide' >&2 || true
  case $side in
    ours) on ours 'docker ps -a --format "{{.Names}} {{.Status}}"' >&2 || true ;;
    stock) on stock 'ctr -n k8s.io tasks ls' >&2 || true ;;
  esac
}

# init_observed SIDE KEY COMMAND...: runs the commands that make a cluster, under observation, and records KEY.WHAT in seconds.
init_observed() {
  local side=$1 key=$2 commands='' command what seconds
  shift 2
  for command in "$@"; do commands+=" $(printf %q "$command")"; done
  docker exec "bench-$side-1" bash -c "/root/observe.sh 1 $INIT_DEADLINE$commands" >"$WORK/observed" 2>"$LOG" ||
    { show_failure "$side"; fail "$side: no cluster that is Ready with its DNS rolled out: $(tail -n 1 "$LOG")"; }
  while read -r what seconds; do record "$key.$what" "$seconds"; done <"$WORK/observed"
  note "$(tr '\n' ' ' <"$WORK/observed")"
}

# What both sides are told of the cluster.
cluster_config() {
  cat <<YAML
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $(address "bench-$1-1")}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking: {podSubnet: 10.244.0.0/16}
YAML
}
