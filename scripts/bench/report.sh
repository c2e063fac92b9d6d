# Sourced by scripts/bench.sh: the tables, out of what was recorded.
# shellcheck shell=bash

MISSING=() OTHERS=

# row LABEL OURS-KEY STOCK-KEY [BAR [PERCENTILE]]: BAR begins with the number that ours must not exceed. A key may be empty.
row() {
  local label=$1 bar=${4:-} p=${5:-50} ours stock
  ours=$(cell "$2" "$p") stock=$(cell "$3" "$p")
  [ -n "$ours" ] || missing "$label, junioadm" "$2"
  [ -n "$stock" ] || missing "$label, stock" "$3"
  printf '| %s | %s | %s | %s | %s | %s |\n' "$label" "${ours:--}" "${stock:--}" "$(ratio "$ours" "$stock")" "${bar:-}" "$(met "$ours" "$bar")"
}
# missing WHAT KEY: it gets a `-`, and its reason a line below the tables.
missing() { if [ -n "${WHY[$2]:-}" ]; then MISSING+=("$1: ${WHY[$2]}"); else OTHERS=1; fi; }
cell() { [ -z "$1" ] || percentile "$1" "$2" | awk '{ printf "%.4g", $1 }'; }
ratio() { if [ -n "$1" ] && [ -n "$2" ]; then awk -v a="$1" -v b="$2" 'BEGIN { print (b + 0 == 0) ? "-" : sprintf("%.2f", a / b) }'; else echo -; fi; }
met() { if [ -n "$1" ] && [ -n "$2" ]; then awk -v a="$1" -v b="${2%% *}" 'BEGIN { print (a + 0 <= b + 0) ? "yes" : "no" }'; fi; }
header() { printf '\n## %s\n\n| %s | junioadm | stock | ratio | bar | met |\n|---|---|---|---|---|---|\n' "$1" "$2"; }

why stock.cold "kubeadm takes its images from a registry"
why stock.ssh "kubeadm is not driven over SSH"
why stock.again "kubeadm init refuses a host that has been initialized"

init_table() {
  header "A cluster on one host" "seconds, median of $RUNS"
  row "images loaded: start to node Ready and CoreDNS rolled out, network included" ours.warm.done stock.warm.done "6 (hard: 8)"
  row "the same with nothing loaded, the bundle on disk" ours.cold.done stock.cold 10
  row "images loaded: the command ended (stock: \`kubeadm init\`, the network is still to be applied)" ours.warm.command-1 stock.warm.command-1
  row "images loaded: the API server gives the admin an answer" ours.warm.api stock.warm.api
  row "images loaded: the node is Ready" ours.warm.node stock.warm.node
  row "images loaded: CoreDNS is rolled out" ours.warm.dns stock.warm.dns
  row "\`init\` again on the finished host: the command ended" ours.again.command-1 stock.again 1
}

kubelet_table() {
  header "The kubelet, idle" "$PODS pods besides those of the cluster, over $IDLE_SECONDS s"
  row "pods in all" ours.idle.pods stock.idle.pods
  row "kubelet, resident (MB)" ours.idle.kubelet.rss stock.idle.kubelet.rss 25
  row "kubelet, anonymous (MB)" ours.idle.kubelet.anonymous stock.idle.kubelet.anonymous
  row "kubelet, proportional set size (MB)" ours.idle.kubelet.pss stock.idle.kubelet.pss
  row "kubelet, CPU (% of a core)" ours.idle.kubelet.cpu stock.idle.kubelet.cpu 0.3
  row "engine: dockerd and containerd, stock: containerd; resident (MB)" ours.idle.engine.rss stock.idle.engine.rss
  row "engine, proportional set size (MB)" ours.idle.engine.pss stock.idle.engine.pss
  row "engine, CPU (% of a core)" ours.idle.engine.cpu stock.idle.engine.cpu
  row "containerd's shims, proportional set size (MB)" ours.idle.shims.pss stock.idle.shims.pss
}

pods_table() {
  header "Pods, as a watching client sees them" "one container, image present; $POD_RUNS pods one at a time"
  row "create to Ready, p50 (ms)" ours.pod.ready stock.pod.ready 200
  row "create to Ready, p99 (ms)" ours.pod.ready stock.pod.ready 350 99
  row "delete to gone, p50 (ms); grace 1, the process ends on SIGTERM" ours.pod.gone stock.pod.gone 150
  row "delete to gone, p99 (ms)" ours.pod.gone stock.pod.gone "" 99
  row "$BURST at once, all Ready (s), median of $BURST_RUNS" ours.burst.ready stock.burst.ready 2.2
  row "$BURST deleted at once, all gone (s)" ours.burst.gone stock.burst.gone
  row "kubelet CPU per pod life (ms)" ours.pod.cpu.kubelet.own stock.pod.cpu.kubelet.own 15
  row "the same with programs that the kubelet runs (CNI with ours; with stock containerd runs them)" ours.pod.cpu.kubelet.all stock.pod.cpu.kubelet.all
  row "engine CPU per pod life, without shims (ms)" ours.pod.cpu.engine.all stock.pod.cpu.engine.all
}

join_table() {
  header "A worker joins" "seconds, median of $RUNS; images loaded, network included"
  row "start to Ready" ours.join.ready stock.join.ready 1.5
  row "the command ended" ours.join.command stock.join.command
  row "driven over SSH: start to Ready" ours.ssh.ready stock.ssh 3
  row "driven over SSH: the command ended" ours.ssh.command stock.ssh
  row "driven over SSH: sent to the host (kB)" ours.ssh.sent stock.ssh 1000
}

bundle_table() {
  local size
  size=$(stat -Lc %s "$BUNDLE")
  printf '\n## The bundle\n\nAll of it: %s MB (bar: 80 MB).\n\n| part | MB | compressed MB |\n|---|---|---|\n' "$(awk -v s="$size" 'BEGIN { printf "%.1f", s / 1e6 }')"
  "$JUNIO_BUNDLE" list --json "$BUNDLE" >"$WORK/manifest.json"
  "$JUNIO_BUNDLE" list "$BUNDLE" | awk '$1 == "part" && $5 >= 0.1 { name = $7; for (i = 8; i <= NF; i++) name = name " " $i; printf "%s\t| %s | %s | %s |\n", $5, name, $2, $5 }' | sort -rn | cut -f2-
}

phases_tables() {
  local report=$WORK/ours.warm.json
  [ -s "$report" ] || return 0
  printf '\n## Where the time of one warm init goes\n\nThe last one; `init` says %s ms. Phases overlap.\n\n| phase | outcome | started (ms) | took (ms) |\n|---|---|---|---|\n' "$(jq .elapsedMs "$report")"
  jq -r '.timeline | sort_by(.startedMs)[] | "| \(.phase) | \(.outcome) | \(.startedMs) | \(.elapsedMs) |"' "$report"
  printf '\n| waited for | phase | took (ms) |\n|---|---|---|\n'
  jq -r 'select(.type == "waited") | "| \(.what) | \(.phase) | \(.elapsedMs) |"' "$WORK/ours.warm.events"
}

report() {
  local line
  echo "# Bench"
  echo
  echo "Made by \`make bench\` at commit $COMMIT; $BUILT; $SUITE hosts, $(nproc) cores, $MACHINE."
  echo "Before it began, $OTHERS_BUSY % of the cores were busy with something else; above a few percent these numbers are worth little."
  echo "Machines differ: read the ratios (ours / stock). [TESTING.md](TESTING.md) says how each is measured."
  echo
  echo "Stock is kubeadm and kubelet $VERSION with containerd and the same images, CNI plugins and flannel."
  MISSING=() OTHERS=
  ! wanted init || init_table
  ! wanted kubelet || kubelet_table
  ! wanted pods || pods_table
  ! wanted join || join_table
  ! wanted apply || apply_tables
  ! has_side ours || { bundle_table; phases_tables; }
  [ "${#MISSING[@]}$OTHERS" = 0 ] || printf '\n## Not measured\n\n'
  for line in "${MISSING[@]}"; do echo "- $line"; done
  if [ -n "$OTHERS" ]; then
    [ -n "$FINISHED" ] && echo '- all else that is marked `-`: not asked of this run' || echo '- all else that is marked `-`: the run stopped before'
  fi
}
