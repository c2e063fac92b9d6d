#!/usr/bin/env bash
# `make cluster`: builds what is missing and ends with a running cluster of three lab hosts. Safe to run again.
#   scripts/cluster.sh up [NAME] | down [NAME]      WORKERS=2: that many workers beside the control plane (default 2)
source "$(dirname "$0")/common.sh"

NAME=${2:-demo}
WORKERS=${WORKERS:-2}
JUNIOADM=$BIN_DIR/junioadm

up() {
  "$ROOT/scripts/setup.sh"
  "$ROOT/scripts/build.sh"
  step "Starting the lab $NAME"
  JUNIOADM_BUNDLE=$BUNDLE "$JUNIOADM" lab up "$NAME" --workers "$WORKERS"
  local config
  config=$("$JUNIOADM" lab kubeconfig "$NAME")
  step "kubectl get nodes,pods -A -o wide"
  "$JUNIOADM" lab ssh "$NAME" "$NAME-1" -- kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes,pods -A -o wide
  cat <<TEXT

kubeconfig: $config

Try next:
  $JUNIOADM lab ssh $NAME $NAME-1
  $JUNIOADM lab ssh $NAME $NAME-1 -- kubectl --kubeconfig /etc/kubernetes/admin.conf describe node $NAME-1
  make clean-cluster
TEXT
}

down() {
  if [ -x "$JUNIOADM" ]; then
    "$JUNIOADM" lab down "$NAME"
  else
    fail "junioadm is not built, so the lab $NAME can not be removed" "scripts/build.sh binaries && make clean-cluster"
  fi
}

case "${1:-up}" in
  up) need_root; up ;;
  down) need_root; down ;;
  *) fail "unknown argument $1" "scripts/cluster.sh up|down [NAME]" ;;
esac
