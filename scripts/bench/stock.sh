# Sourced by scripts/bench.sh: the other side. kubeadm and kubelet are built from the pinned Kubernetes module, containerd and
# runc are Debian's; images and CNI plugins are those of our bundle, the network is the same flannel.
# shellcheck shell=bash

REFERENCE=$CACHE/reference
VERSION=$(cd "$ROOT/bundle/go/kubernetes" && go list -m -f '{{.Version}}' k8s.io/kubernetes)

build_reference() {
  local module=$ROOT/bundle/go/kubernetes stamp package flags='-s -w' major minor
  "$ROOT/scripts/reference-kubeadm.sh" >/dev/null
  stamp=$VERSION-$(sha256sum "$module/go.sum" | cut -c1-16)
  if [ -x "$REFERENCE/kubelet" ] && [ "$(cat "$REFERENCE/kubelet.stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
  step "go build kubelet $VERSION (one to three minutes)"
  IFS=. read -r major minor _ <<<"${VERSION#v}"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$VERSION -X $package.gitMajor=$major -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
  done
  (cd "$module" && CGO_ENABLED=0 go build -tags reference -trimpath -ldflags "$flags" -o "$REFERENCE/kubelet.part" k8s.io/kubernetes/cmd/kubelet) >&2
  mv "$REFERENCE/kubelet.part" "$REFERENCE/kubelet"
  echo "$stamp" >"$REFERENCE/kubelet.stamp"
}

# stock_host [WORKERS]: hosts as kubeadm's packages and their user would have left them, with the images in containerd.
stock_host() {
  local workers=${1:-0} number host
  build_reference
  lab_up stock "$workers"
  for number in $(seq $((workers + 1))); do
    host=bench-stock-$number
    docker cp -q "$REFERENCE/kubeadm" "$host:/usr/local/bin/kubeadm"
    docker cp -q "$REFERENCE/kubelet" "$host:/usr/local/bin/kubelet"
    cluster_config stock | on "$host" 'cat >/root/ours.yaml'
    stock_prepare "$host" >"$LOG" 2>&1 || { tail -n 20 "$LOG" >&2; fail "$host could not be prepared for kubeadm"; }
  done
  stock_config | on stock 'cat >/root/kubeadm.yaml'
}

stock_prepare() {
  docker exec -i "$1" bash -euo pipefail <<'SCRIPT'
# Our bundle's images, CNI plugins and kubectl, and the manifest of flannel out of a dry run; nothing else of ours stays.
junioadm init phase images --config /root/ours.yaml
junioadm init --config /root/ours.yaml --dry-run
awk 'BEGIN { RS = "---\n" } /flannel/ { printf "---\n%s", $0 }' /etc/kubernetes/tmp/*/objects.yaml >/root/flannel.yaml
grep -q DaemonSet /root/flannel.yaml
rm -rf /etc/kubernetes

# A lab host has no /dev/kmsg, without which the kubelet does not start ("open /dev/kmsg: no such file or directory").
[ -e /dev/kmsg ] || mknod -m 600 /dev/kmsg c 1 11

# containerd as its packages have it, with our pause. A machine without CAP_SYS_RESOURCE refuses the negative
# oom_score_adj of a sandbox ("can't get final child's PID from pipe"): containerd is told to stay above its own.
mkdir -p /etc/containerd
containerd config default | sed -e 's#sandbox_image = .*#sandbox_image = "registry.k8s.io/pause:3.10.2"#' \
  -e 's#bin_dir = .*#bin_dir = "/opt/cni/bin"#' -e 's#restrict_oom_score_adj = .*#restrict_oom_score_adj = true#' >/etc/containerd/config.toml
systemctl restart containerd
docker images --format '{{.Repository}}:{{.Tag}}' | grep ^registry.k8s.io | xargs docker save | ctr -n k8s.io images import - >/dev/null

# The host of a containerd cluster runs no Docker, and has none of its rules.
systemctl disable --now docker.service docker.socket
nft flush ruleset
ip link delete docker0 || true

# The unit and its drop-in, as the packages of Kubernetes have them.
mkdir -p /etc/systemd/system/kubelet.service.d
cat >/etc/systemd/system/kubelet.service <<'UNIT'
[Unit]
Wants=network-online.target
After=network-online.target
[Service]
ExecStart=/usr/local/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10
[Install]
WantedBy=multi-user.target
UNIT
cat >/etc/systemd/system/kubelet.service.d/10-kubeadm.conf <<'UNIT'
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/local/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
UNIT
systemctl daemon-reload
systemctl enable kubelet
SCRIPT
}

image_tag() { "$JUNIOADM" config images list | sed -n "s#.*/$1:##p"; }

# Defaults but for the host's sake: cgroup v1 must be allowed by name, and a lab host may not set nf_conntrack_max.
stock_config() {
  cat <<YAML
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $(address bench-stock-1)}
nodeRegistration: {criSocket: "unix:///run/containerd/containerd.sock", imagePullPolicy: IfNotPresent}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $VERSION
networking: {podSubnet: 10.244.0.0/16}
dns: {imageTag: "$(image_tag coredns/coredns)"}
etcd: {local: {imageTag: "$(image_tag etcd)"}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack: {maxPerCore: 0, min: 0}
YAML
}

# stock_init KEY: kubeadm init, then the network, as its user would type them.
stock_init() {
  init_observed stock "$1" 'kubeadm init --config /root/kubeadm.yaml --ignore-preflight-errors=all' 'kubectl apply -f /root/flannel.yaml'
}

stock_round() {
  step "stock, images loaded, run $1 of $RUNS"
  stock_host
  stock_init stock.warm
}

stock_cluster() {
  stock_host
  stock_init stock.unmeasured
}
