# Sourced by scripts/bench.sh: what an idle kubelet and its engine cost with $PODS pods beside those of the cluster itself.
# shellcheck shell=bash

# processes SIDE: the kubelet's process name, then those of the engine.
processes() { case $1 in ours) echo junio-kubelet dockerd containerd ;; stock) echo kubelet containerd ;; esac; }

let_pods_in() { on "$1" 'kubectl taint nodes --all node-role.kubernetes.io/control-plane- >/dev/null 2>&1 || true'; }

kubelet_figures() {
  local side=$1 what number
  step "$side: the kubelet idle with $PODS pods, for $IDLE_SECONDS s"
  let_pods_in "$side"
  on "$side" "kubectl create deployment idle --image=$PAUSE --replicas=$PODS >/dev/null && kubectl rollout status deployment idle --timeout=180s >/dev/null" ||
    { show_failure "$side"; fail "$side: $PODS pods did not come up"; }
  sleep "$SETTLE_SECONDS" # what starting them left to do is no idle work
  record "$side.idle.pods" "$(on "$side" 'kubectl get pods -A --no-headers | wc -l')"
  on "$side" "/root/figures.sh idle $IDLE_SECONDS $(processes "$side")" >"$WORK/figures" || fail "$side: the processes could not be measured"
  while read -r what number; do record "$side.idle.$what" "$number"; done <"$WORK/figures"
  note "$(tr '\n' ' ' <"$WORK/figures")"
  on "$side" 'kubectl delete deployment idle --wait --cascade=foreground >/dev/null'
}
