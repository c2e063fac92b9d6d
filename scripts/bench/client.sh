# Sourced by scripts/bench.sh: a light client of a side's API server on this machine: curl to ask, curl and jq to watch.
# shellcheck shell=bash

CLIENT=$WORK/client
mkdir -p "$CLIENT"
WATCHERS=()

# client_open SIDE: takes the admin's credentials.
client_open() {
  local name
  on "$1" 'cat /etc/kubernetes/admin.conf' >"$CLIENT/conf"
  # a value is on its key's line or folded onto the next one
  field() { awk -v key="$1:" '$1 == key { if ($2 ~ /^[>|]/) { getline; print $1 } else print $2; exit }' "$CLIENT/conf" | tr -d '"'; }
  for name in certificate-authority client-certificate client-key; do
    field "$name-data" | base64 -d | install -m 600 /dev/stdin "$CLIENT/$name"
  done
  SERVER=$(field server)
}

CURL=(curl -sS --cacert "$CLIENT/certificate-authority" --cert "$CLIENT/client-certificate" --key "$CLIENT/client-key" -H 'Content-Type: application/json')

# client METHOD PATH [BODY]: prints when the request left (seconds since the epoch: curl was connected); fails unless the answer is 2xx.
client() {
  local before=$EPOCHREALTIME connected code
  read -r connected code <<<"$("${CURL[@]}" -X "$1" ${3:+-d "$3"} -o "$CLIENT/answer" -w '%{time_pretransfer} %{http_code}' "$SERVER$2")"
  case $code in 2??) awk -v a="$before" -v b="$connected" 'BEGIN { printf "%.6f", a + b }' ;; *) cat "$CLIENT/answer" >&2; return 1 ;; esac
}

# client_watch PATH: starts a watch; `watched` reads what comes. An event is TIME, NAME and STATE: DELETED, or what the
# condition Ready says.
client_watch() {
  rm -f "$CLIENT/events"
  mkfifo "$CLIENT/events"
  set -m
  { "${CURL[@]}" -N "$SERVER$1?watch=1" | jq --unbuffered -r '[now, .object.metadata.name,
      if .type == "DELETED" then .type else ([.object.status.conditions[]? | select(.type == "Ready") | .status][0] // "-") end] | @tsv' >"$CLIENT/events"; } &
  WATCHERS+=($!)
  set +m
  exec 7<"$CLIENT/events"
}

EVENT_WAIT=60 # seconds for one event, then it is a failure

# watched NAMES STATE [COUNT]: waits until COUNT objects whose names match were seen in that state; prints the last one's time.
watched() {
  local count=${3:-1} time name state
  local -A seen=()
  while IFS=$'\t' read -rt "$EVENT_WAIT" -u 7 time name state; do
    [[ $name =~ ^($1)$ && $state = "$2" ]] || continue
    seen[$name]=1
    if [ "${#seen[@]}" = "$count" ]; then echo "$time"; return; fi
  done
  return 1
}

client_watch_end() {
  local group
  for group in "${WATCHERS[@]}"; do kill -- -"$group" 2>/dev/null || true; wait "$group" 2>/dev/null || true; done
  WATCHERS=()
  exec 7<&- || true
}
