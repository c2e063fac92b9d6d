#!/usr/bin/env bash
# Runs on a lab host, the same for both sides: runs commands one after the other and watches, from before the first one,
# when every node is Ready and the deployment coredns has all its replicas.
#   observe.sh NODES DEADLINE-SECONDS COMMAND [COMMAND...]
# Prints `KEY SECONDS` lines, counted from the start of the first command: `command-N` (N ended), `api` (first answer to the
# admin), `node` (all NODES Ready), `dns` (coredns rolled out), `done` (both held at once). Output of the commands goes to
# /root/command-N.{out,err}. Exit code: that of the first command that failed, or 124 when it, or what is
# watched for after it, took longer than the deadline.
#
# The look-out costs next to nothing: it waits for the admin's kubeconfig without starting a process, then holds two watches
# open (nodes, deployments) that answer with rows of the columns that kubectl shows.
set -euo pipefail

nodes=$1 deadline=$2
shift 2
kubeconfig=/etc/kubernetes/admin.conf
work=$(mktemp -d /tmp/observe.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/rows" "$work/never"
exec 3<>"$work/never"

# pause SECONDS: without a process.
pause() { read -rt "$1" -u 3 || true; }

# field NAME: a value of the kubeconfig, on its key's line or folded onto the next one.
field() { awk -v key="$1:" '$1 == key { if ($2 ~ /^[>|]/) { getline; print $1 } else print $2; exit }' "$kubeconfig" | tr -d '"'; }

# watch PATH: rows as they change, for as long as it takes. The API server turns the admin down until the role is bound, so a
# watch that ends is begun again.
watch() {
  while :; do
    until { : 5<>"/dev/tcp/$address"; } 2>/dev/null; do pause 0.05; done
    curl -sN --max-time "$deadline" --cacert "$work/ca" --cert "$work/crt" --key "$work/key" \
      -H 'Accept: application/json;as=Table;v=v1;g=meta.k8s.io' "$server$1?watch=1&includeObject=None" >"$work/rows" || true
    pause 0.2
  done
}

look_out() {
  local server address line now ready=0 dns=0 seen_api='' seen_node='' seen_dns=''
  local -A node=()
  until [ -s "$kubeconfig" ]; do pause 0.02; done
  # written by rename on our side, in place by kubeadm: complete when its last field is there
  until [ -n "$(field client-key-data)" ]; do pause 0.02; done
  field certificate-authority-data | base64 -d >"$work/ca"
  field client-certificate-data | base64 -d >"$work/crt"
  field client-key-data | base64 -d >"$work/key"
  server=$(field server)
  address=${server#https://}
  address=${address%:*}/${address##*:}
  watch /api/v1/nodes &
  # both ends open, so that the pipe outlives a watch that ends
  exec 4<>"$work/rows"
  while IFS= read -r line <&4; do
    now=$EPOCHREALTIME
    if [[ $line =~ \"cells\":\[\"coredns\",\"([0-9]+)/([0-9]+)\",([0-9]+),([0-9]+), ]]; then
      dns=0
      if [ "${BASH_REMATCH[2]}" -gt 0 ] && [ "${BASH_REMATCH[1]} ${BASH_REMATCH[3]} ${BASH_REMATCH[4]}" = \
        "${BASH_REMATCH[2]} ${BASH_REMATCH[2]} ${BASH_REMATCH[2]}" ]; then dns=1; seen_dns=${seen_dns:-$now}; fi
    elif [[ $line =~ \"cells\":\[\"([^\"]+)\",\"(Ready|NotReady)[^\"]*\", ]]; then
      node[${BASH_REMATCH[1]}]=${BASH_REMATCH[2]}
      ready=0
      local state
      for state in "${node[@]}"; do [ "$state" != Ready ] || ready=$((ready + 1)); done
      if [ "$ready" -ge "$nodes" ]; then seen_node=${seen_node:-$now}; fi
    else
      continue
    fi
    if [ -z "$seen_api" ]; then seen_api=$now; watch /apis/apps/v1/namespaces/kube-system/deployments & fi
    if [ "$dns" = 1 ] && [ "$ready" -ge "$nodes" ]; then
      printf 'api %s\nnode %s\ndns %s\ndone %s\n' "$seen_api" "$seen_node" "$seen_dns" "$now" >"$work/seen.part"
      mv "$work/seen.part" "$work/seen"
      return
    fi
  done
}

# a process group of its own, so that its watches end with it
set -m
look_out &
watcher=$!
set +m
trap 'kill -- -"$watcher" 2>/dev/null || true; rm -rf "$work"' EXIT

start=$EPOCHREALTIME
number=0
for command in "$@"; do
  number=$((number + 1))
  code=0
  timeout "$deadline" bash -o pipefail -c "export KUBECONFIG=$kubeconfig; $command" >"/root/command-$number.out" 2>"/root/command-$number.err" || code=$?
  echo "command-$number $EPOCHREALTIME"
  [ "$code" = 0 ] || exit "$code"
done | awk -v start="$start" '{ printf "%s %.2f\n", $1, $2 - start; fflush() }'

while [ ! -s "$work/seen" ]; do
  [ "${EPOCHREALTIME%.*}" -lt $((${start%.*} + deadline)) ] || { echo "not Ready and rolled out after $deadline s" >&2; exit 124; }
  pause 0.05
done
awk -v start="$start" '{ printf "%s %.2f\n", $1, $2 - start }' "$work/seen"
