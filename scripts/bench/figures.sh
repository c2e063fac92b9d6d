#!/usr/bin/env bash
# Runs on a lab host: memory and CPU of the kubelet and of the engine beside it, `KEY NUMBER` a line.
#   figures.sh idle SECONDS KUBELET ENGINE...     what SECONDS without work cost: megabytes, % of a core
#   figures.sh cpu KUBELET ENGINE...              CPU time since start in ms, own and of ended children (CNI plugins, runc)
# KUBELET and ENGINE are names of processes.
set -euo pipefail

ticks_per_second=$(getconf CLK_TCK)

# cpu_of NAME...: milliseconds on CPU, own and of children that have ended and been waited for.
cpu_of() {
  local name pid files=()
  for name in "$@"; do
    for pid in $(pidof "$name"); do files+=("/proc/$pid/stat"); done
  done
  awk -v hz="$ticks_per_second" '{ own += $14 + $15; all += $14 + $15 + $16 + $17 } END { printf "%.0f %.0f", own * 1000 / hz, all * 1000 / hz }' "${files[@]}"
}

# memory_of KEY NAME...: resident, private-and-anonymous, and proportional megabytes of all processes of those names.
memory_of() {
  local key=$1 name pid files=()
  shift
  for name in "$@"; do
    for pid in $(pidof "$name"); do files+=("/proc/$pid/smaps_rollup"); done
  done
  awk -v key="$key" '/^Rss:/ { rss += $2 } /^Pss:/ { pss += $2 } /^Anonymous:/ { anonymous += $2 }
    END { printf "%s.rss %.1f\n%s.anonymous %.1f\n%s.pss %.1f\n", key, rss / 1024, key, anonymous / 1024, key, pss / 1024 }' "${files[@]}"
}

case $1 in
  idle)
    seconds=$2 kubelet=$3
    shift 3
    read -r kubelet_before _ <<<"$(cpu_of "$kubelet")"
    read -r engine_before _ <<<"$(cpu_of "$@")"
    before=$EPOCHREALTIME
    sleep "$seconds"
    read -r kubelet_after _ <<<"$(cpu_of "$kubelet")"
    read -r engine_after _ <<<"$(cpu_of "$@")"
    awk -v s="$(awk -v a="$EPOCHREALTIME" -v b="$before" 'BEGIN { print a - b }')" -v k=$((kubelet_after - kubelet_before)) -v e=$((engine_after - engine_before)) \
      'BEGIN { printf "kubelet.cpu %.2f\nengine.cpu %.2f\n", k / 10 / s, e / 10 / s }'
    memory_of kubelet "$kubelet"
    memory_of engine "$@"
    memory_of shims containerd-shim-runc-v2
    ;;
  cpu)
    kubelet=$2
    shift 2
    read -r own all <<<"$(cpu_of "$kubelet")"
    printf 'kubelet.own %s\nkubelet.all %s\n' "$own" "$all"
    read -r own all <<<"$(cpu_of "$@")"
    printf 'engine.own %s\nengine.all %s\n' "$own" "$all"
    ;;
esac
