# Sourced by scripts/bench.sh: a prepared worker (images loaded) joins: how long the command takes, and when the node is Ready
# for a watching client, which it is not before flannel has set the network up there.
# shellcheck shell=bash

join_command() {
  case $1 in
    ours) jq -r '.join.command' "$WORK/ours.unmeasured.json" | tr -d '\\\n\t' ;;
    stock) echo "$(on stock 'kubeadm token create --print-join-command') --ignore-preflight-errors=all" ;;
  esac
}

# The first host takes the images out of the bundle, the workers take them from there by Docker alone: on them nothing is ours.
ours_images_everywhere() {
  local number
  ours_load_images
  on ours "docker images --format '{{.Repository}}:{{.Tag}}' | grep ^registry.k8s.io | xargs docker save" >"$WORK/images.tar"
  for number in $(seq 2 $((RUNS + 1))); do on "bench-ours-$number" 'docker load' <"$WORK/images.tar" >"$LOG" || fail "the images could not be loaded"; done
  rm -f "$WORK/images.tar"
}

join_measures() {
  local side=$1 number command worker times ready
  if [ "$side" = ours ] && ! "$JUNIOADM" join --help >/dev/null 2>&1; then
    why ours.join.ready "this junioadm has no join"
    why ours.join.command "this junioadm has no join"
    return
  fi
  step "$side: $RUNS workers join, one after the other"
  "${side}_host" "$RUNS"
  [ "$side" = stock ] || ours_images_everywhere
  "${side}_init" "$side.unmeasured"
  command=$(join_command "$side")
  client_open "$side"
  client_watch /api/v1/nodes
  for number in $(seq 2 $((RUNS + 1))); do
    worker=bench-$side-$number
    times=$(docker exec "$worker" bash -c "start=\$EPOCHREALTIME; $command >/root/command-1.out 2>/root/command-1.err && echo \"\$start \$EPOCHREALTIME\"") ||
      { on "$worker" "tail -n 25 /root/command-1.err; journalctl -u $(unit "$side") --no-pager -o cat | tail -n 25" >&2; fail "$side: $worker could not join"; }
    ready=$(watched "$worker" True) || { on "$worker" "journalctl -u $(unit "$side") --no-pager -o cat | tail -n 25" >&2; fail "$side: $worker is not Ready within $EVENT_WAIT s"; }
    record "$side.join.command" "$(minus "${times#* }" "${times% *}")"
    record "$side.join.ready" "$(minus "$ready" "${times% *}")"
  done
  client_watch_end
  note "command $(value "$side.join.command") s, Ready $(value "$side.join.ready") s"
}
