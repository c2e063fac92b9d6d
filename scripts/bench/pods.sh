# Sourced by scripts/bench.sh: pods as a watching client sees them. One container of the pause image, which ends at SIGTERM; the
# default ServiceAccount's token is mounted, the scheduler places it: a pod as anyone would create it.
# shellcheck shell=bash

NAMESPACE=bench

pod_json() {
  printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"%s"}]}}' "$1" "$PAUSE"
}

# pod_life SIDE NAME: created, Ready, deleted, gone; prints both durations in milliseconds.
pod_life() {
  local created ready deleted gone pods=/api/v1/namespaces/$NAMESPACE/pods
  created=$(client POST $pods "$(pod_json "$2")") && ready=$(watched "$2" True) || { lost "$1" "pod $2 did not become Ready"; }
  deleted=$(client DELETE "$pods/$2") && gone=$(watched "$2" DELETED) || { lost "$1" "pod $2 did not go away"; }
  echo "$(milliseconds "$ready" "$created") $(milliseconds "$gone" "$deleted")"
}

lost() {
  show_failure "$1"
  on "$1" "kubectl -n $NAMESPACE describe pods | tail -n 30" >&2 || true
  fail "$1: $2 within $EVENT_WAIT s"
}

# cpu SIDE: milliseconds so far, as `KEY NUMBER` lines.
cpu() { on "$1" "/root/figures.sh cpu $(processes "$1")"; }

pod_measures() {
  local side=$1 number name life start key before after idle pods=/api/v1/namespaces/$NAMESPACE/pods
  step "$side: $POD_RUNS pods, one at a time"
  let_pods_in "$side"
  client_open "$side"
  client POST /api/v1/namespaces "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"$NAMESPACE\"}}" >/dev/null
  # a pod is refused until the namespace has its ServiceAccount
  on "$side" "kubectl -n $NAMESPACE wait --for=create serviceaccount/default --timeout=60s >/dev/null" || fail "$side: no ServiceAccount in a new namespace"
  client_watch $pods
  for name in first second; do pod_life "$side" "$name" >/dev/null; done # not counted: caches fill
  declare -A spent=()
  while read -r key before; do spent[$key]=$before; done <<<"$(cpu "$side")"
  start=$EPOCHREALTIME
  for number in $(seq "$POD_RUNS"); do
    life=$(pod_life "$side" "life-$number")
    record "$side.pod.ready" "${life% *}"
    record "$side.pod.gone" "${life#* }"
  done
  # what the kubelet would have spent in that time anyway is no pod's
  idle=$(value "$side.idle.kubelet.cpu")
  while read -r key after; do
    record "$side.pod.cpu.$key" "$(awk -v a="$after" -v b="${spent[$key]}" -v n="$POD_RUNS" -v s="$(minus "$EPOCHREALTIME" "$start")" \
      -v idle="$(case $key in kubelet.*) echo "${idle:-0}" ;; *) value "$side.idle.engine.cpu" ;; esac)" 'BEGIN { printf "%.1f", (a - b - idle * 10 * s) / n }')"
  done <<<"$(cpu "$side")"
  note "create to Ready $(value "$side.pod.ready") ms, delete to gone $(value "$side.pod.gone") ms"

  step "$side: $BURST pods at once, $BURST_RUNS times"
  for number in $(seq "$BURST_RUNS"); do
    burst_requests "burst-$number" >"$CLIENT/burst"
    start=$EPOCHREALTIME
    curl --parallel --parallel-max "$BURST" -K "$CLIENT/burst" >"$LOG" 2>&1 || fail "$side: the pods could not be created: $(tail -n 1 "$LOG")"
    after=$(watched '.*' True "$BURST") || lost "$side" "$BURST pods did not become Ready"
    record "$side.burst.ready" "$(minus "$after" "$start")"
    start=$(client DELETE $pods)
    after=$(watched '.*' DELETED "$BURST") || lost "$side" "$BURST pods did not go away"
    record "$side.burst.gone" "$(minus "$after" "$start")"
  done
  note "all Ready $(value "$side.burst.ready") s, all gone $(value "$side.burst.gone") s"
  client_watch_end
}

# burst_requests PREFIX: the requests for one call of curl.
burst_requests() {
  local number
  for number in $(seq "$BURST"); do
    [ "$number" = 1 ] || echo next # forgets all options of the request before
    printf 'silent\nshow-error\nfail\noutput = /dev/null\nheader = "Content-Type: application/json"\n'
    printf 'cacert = "%s"\ncert = "%s"\nkey = "%s"\n' "$CLIENT/certificate-authority" "$CLIENT/client-certificate" "$CLIENT/client-key"
    printf 'url = "%s"\ndata = "%s"\n' "$SERVER/api/v1/namespaces/$NAMESPACE/pods" "$(pod_json "$1-$number" | sed 's/"/\\"/g')"
  done
}
