#!/usr/bin/env bash
# Writes tests/reference/fixtures/patches/{base,out} anew: what the reference kubeadm renders without and with the patches
# in `in`. Needs root, because kubeadm wants it for a dry run, and changes nothing.
source "$(dirname "$0")/common.sh"

kubeadm=$("$ROOT/scripts/reference-kubeadm.sh")
fixtures=$ROOT/tests/reference/fixtures/patches
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# render NAME CONFIG: all files that can be patched, into fixtures/NAME.
render() {
  local out=$fixtures/$1 config=$2 dir=$work/$1
  mkdir -p "$out" "$dir"
  rm -f "$out"/*
  export KUBEADM_INIT_DRYRUN_DIR=$dir
  "$kubeadm" init phase control-plane all --dry-run --config "$config" >/dev/null
  "$kubeadm" init phase etcd local --dry-run --config "$config" >/dev/null
  "$kubeadm" init phase kubelet-start --dry-run --config "$config" >/dev/null
  cp "$dir"/{etcd,kube-apiserver,kube-controller-manager,kube-scheduler}.yaml "$out/"
  cp "$dir/config.yaml" "$out/kubeletconfiguration.yaml"
  "$kubeadm" init phase addon coredns --print-manifest --config "$config" |
    awk '/^---/ { n++; $0 = substr($0, 4); if ($0 == "") next } n == 1' | grep -v '^\[patches\]' >"$out/corednsdeployment.yaml"
}

sed -e '/^kind: InitConfiguration/a localAPIEndpoint: {advertiseAddress: 10.78.0.11}' -e 's/^nodeRegistration: {/&name: ka-1, /' \
  "$ROOT/tests/reference/fixtures/kubeadm.yaml" >"$work/plain.yaml"
render base "$work/plain.yaml"
sed "/^kind: InitConfiguration/a patches: {directory: $fixtures/in}" "$work/plain.yaml" >"$work/patched.yaml"
render out "$work/patched.yaml"
