# Sourced by scripts/bench.sh: a prepared worker (images loaded) joins: how long the command takes, and when the node is Ready
# for a watching client, which it is not before flannel has set the network up there. Ours is also driven over SSH from here.
# shellcheck shell=bash

join_command() {
  case $1 in
    ours) jq -r '.join.command' "$WORK/ours.unmeasured.json" | tr -d '\\\n\t' ;;
    stock) echo "$(on stock 'kubeadm token create --print-join-command') --ignore-preflight-errors=all" ;;
  esac
}

# ours_prepare: what `apply` does with workers while their control plane comes up. Two rounds of workers: one joins by hand.
ours_prepare() {
  local number
  ours_load_images
  for number in $(seq 2 $((2 * RUNS + 1))); do
    on "bench-ours-$number" 'junioadm join phase images' >"$LOG" 2>&1 || fail "bench-ours-$number could not be prepared: $(tail -n 3 "$LOG")"
  done
}

# ssh_flags: how this machine reaches the hosts of our lab.
ssh_flags() {
  local state=${XDG_STATE_HOME:-$HOME/.local/state}/junioadm/lab/bench-ours
  SSH_FLAGS=(--ssh-config none --ssh-identity "$state/id_ed25519" --ssh-known-hosts "$state/known_hosts" --bundle "$BUNDLE")
}

# ready_of SIDE HOST: when the client saw it.
ready_of() {
  watched "$2" True || { on "$2" "journalctl -u $(unit "$1") --no-pager -o cat | tail -n 25" >&2; fail "$1: $2 is not Ready within $EVENT_WAIT s"; }
}

join_measures() {
  local side=$1 number command worker times ready workers=$RUNS
  step "$side: $RUNS workers join, one after the other"
  [ "$side" = stock ] || workers=$((2 * RUNS))
  "${side}_host" "$workers"
  [ "$side" = stock ] || ours_prepare
  "${side}_init" "$side.unmeasured"
  command=$(join_command "$side")
  client_open "$side"
  client_watch /api/v1/nodes
  for number in $(seq 2 $((RUNS + 1))); do
    worker=bench-$side-$number
    times=$(docker exec "$worker" bash -c "start=\$EPOCHREALTIME; $command >/root/command-1.out 2>/root/command-1.err && echo \"\$start \$EPOCHREALTIME\"") ||
      { on "$worker" "tail -n 25 /root/command-1.err; journalctl -u $(unit "$side") --no-pager -o cat | tail -n 25" >&2; fail "$side: $worker could not join"; }
    ready=$(ready_of "$side" "$worker")
    record "$side.join.command" "$(minus "${times#* }" "${times% *}")"
    record "$side.join.ready" "$(minus "$ready" "${times% *}")"
  done
  note "command $(value "$side.join.command") s, Ready $(value "$side.join.ready") s"
  [ "$side" = stock ] || join_over_ssh
  client_watch_end
}

join_over_ssh() {
  local number worker start end
  step "ours: $RUNS workers join over SSH, one after the other"
  ssh_flags
  install -m 600 "$CLIENT/conf" "$WORK/kubeconfig"
  for number in $(seq $((RUNS + 2)) $((2 * RUNS + 1))); do
    worker=bench-ours-$number
    start=$EPOCHREALTIME
    "$JUNIOADM" join --ssh "root@$(address "$worker")" --kubeconfig "$WORK/kubeconfig" "${SSH_FLAGS[@]}" --output json >"$WORK/joined.json" 2>"$LOG" ||
      { tail -n 25 "$LOG" >&2; fail "$worker could not join over SSH"; }
    end=$EPOCHREALTIME
    record ours.ssh.command "$(minus "$end" "$start")"
    record ours.ssh.ready "$(minus "$(ready_of ours "$worker")" "$start")"
    record ours.ssh.sent "$(jq '.hosts[0].bytesSent / 1000' "$WORK/joined.json")"
  done
  note "command $(value ours.ssh.command) s, Ready $(value ours.ssh.ready) s, $(value ours.ssh.sent) kB sent"
}

# apply_measures: from hosts with Docker and sshd alone to all of them Ready, for each number of workers in APPLY_WORKERS.
apply_measures() {
  local workers number host
  for workers in $APPLY_WORKERS; do
    step "ours: apply of one control plane and $workers workers that have nothing of ours"
    lab_up ours "$workers"
    ssh_flags
    for number in $(seq $((workers + 1))); do on "bench-ours-$number" 'rm -rf /usr/local/bin/junio* /var/lib/junioadm'; done
    {
      printf 'apiVersion: junioadm.io/v1alpha1\nkind: Cluster\nmetadata: {name: bench}\nspec:\n  hosts:\n'
      for number in $(seq $((workers + 1))); do
        host=$(address "bench-ours-$number")
        printf '    - {ssh: root@%s%s}\n' "$host" "$([ "$number" != 1 ] || echo ', role: control-plane')"
      done
    } >"$WORK/cluster.yaml"
    rm -f "$WORK/bench.kubeconfig"
    "$JUNIOADM" apply -f "$WORK/cluster.yaml" --kubeconfig "$WORK/bench.kubeconfig" "${SSH_FLAGS[@]}" --output json >"$WORK/apply.$workers.json" 2>"$LOG" ||
      { tail -n 25 "$LOG" >&2; jq -c '.hosts[] | {host, result, error}' "$WORK/apply.$workers.json" >&2 || true; fail "apply of 1+$workers failed"; }
    record "ours.apply.$workers" "$(jq '.elapsedMs / 1000' "$WORK/apply.$workers.json")"
    note "$(value "ours.apply.$workers") s, $(jq -c '[.hosts[].bytesSent / 1e6 | round]' "$WORK/apply.$workers.json") MB sent"
    lab_down ours
  done
}

apply_tables() {
  local workers report
  for workers in $APPLY_WORKERS; do
    report=$WORK/apply.$workers.json
    [ -s "$report" ] || continue
    printf '\n## apply: one control plane and %s workers, from nothing\n\nAll Ready after %s s.\n\n| host | MB sent | step | started (ms) | took (ms) |\n|---|---|---|---|---|\n' "$workers" "$(value "ours.apply.$workers")"
    jq -r '.hosts[] | (.nodeName // .host) as $host | (.bytesSent / 1e6 * 10 | round / 10) as $sent | .timeline[] | "| \($host) | \($sent) | \(.step) | \(.startedMs) | \(.elapsedMs) |"' "$report"
  done
}
