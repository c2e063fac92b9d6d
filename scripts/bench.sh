#!/usr/bin/env bash
# `make bench`: ours beside stock kubeadm + kubelet + containerd, on two lab hosts of the same kind, in one run.
# Prints tables and writes them to docs/BENCH.md. Nothing is asserted: numbers are for people.
#   RUNS=3 SUITE=trixie scripts/bench.sh [ours|reference]      default: both
source "$(dirname "$0")/common.sh"
need_root

RUNS=${RUNS:-3}
SUITE=${SUITE:-trixie}
PODS=${PODS:-10}
IDLE_SECONDS=${IDLE_SECONDS:-60}
JUNIOADM=$BIN_DIR/junioadm
OURS=bench-ours STOCK=bench-stock
WORK=$(mktemp -d)
REFERENCE=$CACHE/reference
declare -A RESULT

cleanup() {
  "$JUNIOADM" lab down $OURS >/dev/null 2>&1 || true
  "$JUNIOADM" lab down $STOCK >/dev/null 2>&1 || true
  rm -rf "$WORK"
}
trap cleanup EXIT

on() { docker exec -i "$1-1" bash -o pipefail -c "export KUBECONFIG=/etc/kubernetes/admin.conf; $2"; }
now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{printf "%.2f", $1 - $2}'; }
# median of the numbers on standard input
median() { sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

ADMIN_READY='kubectl wait node --all --for=condition=Ready --timeout=120s >/dev/null && kubectl -n kube-system rollout status deployment coredns --timeout=120s >/dev/null'

# kubelet_figures LAB PROCESS KEY: RSS and idle CPU of a kubelet with $PODS pods beside those of the cluster itself.
kubelet_figures() {
  local lab=$1 process=$2 key=$3
  on "$lab" "kubectl taint nodes --all node-role.kubernetes.io/control-plane- >/dev/null 2>&1
    kubectl create deployment idle --image=registry.k8s.io/pause:3.10.2 --replicas=$PODS >/dev/null
    kubectl rollout status deployment idle --timeout=180s >/dev/null"
  sleep 20   # let start-up work settle: what is measured is the idle kubelet
  RESULT[$key.pods]=$(on "$lab" "kubectl get pods -A --no-headers | wc -l")
  local figures
  figures=$(on "$lab" "pid=\$(pidof $process | cut -d' ' -f1); hz=\$(getconf CLK_TCK)
    ticks() { awk '{print \$14 + \$15}' /proc/\$pid/stat; }
    a=\$(ticks); sleep $IDLE_SECONDS; b=\$(ticks)
    awk -v a=\$a -v b=\$b -v hz=\$hz -v s=$IDLE_SECONDS 'BEGIN {printf \"%.2f \", (b - a) / hz / s * 100}'
    awk '/VmRSS/ {printf \"%.1f\", \$2 / 1024}' /proc/\$pid/status")
  RESULT[$key.cpu]=${figures% *}
  RESULT[$key.rss]=${figures#* }
}

address() { docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1-1"; }

our_config() {
  cat <<YAML
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $1}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking: {podSubnet: 10.244.0.0/16}
YAML
}

ours() {
  local run ip start
  : >"$WORK/warm"; : >"$WORK/cold"; : >"$WORK/again"
  for run in $(seq "$RUNS"); do
    for kind in cold warm; do
      step "ours, $kind, run $run of $RUNS"
      JUNIOADM_BUNDLE=$BUNDLE "$JUNIOADM" lab up $OURS --hosts-only --suite "$SUITE" >/dev/null 2>&1
      ip=$(address $OURS)
      our_config "$ip" | on $OURS 'cat > /root/init.yaml'
      [ $kind = cold ] || on $OURS 'junioadm init phase images --config /root/init.yaml >/dev/null 2>&1'
      start=$(now)
      on $OURS 'junioadm init --config /root/init.yaml' >"$WORK/init.out" 2>"$WORK/init.err" || { cat "$WORK/init.err" >&2; fail "our init failed"; }
      on $OURS "$ADMIN_READY"
      since "$start" >>"$WORK/$kind"; echo >>"$WORK/$kind"
      if [ $kind = warm ]; then
        start=$(now); on $OURS 'junioadm init --config /root/init.yaml' >/dev/null 2>&1; since "$start" >>"$WORK/again"; echo >>"$WORK/again"
        cp "$WORK/init.out" "$WORK/timeline"; cat "$WORK/init.err" >>"$WORK/timeline"
        [ "$run" != "$RUNS" ] || { step "kubelet of ours, idle with $PODS pods"; kubelet_figures $OURS junio-kubelet ours; }
      fi
      "$JUNIOADM" lab down $OURS >/dev/null 2>&1
    done
  done
  RESULT[ours.warm]=$(median <"$WORK/warm") RESULT[ours.cold]=$(median <"$WORK/cold") RESULT[ours.again]=$(median <"$WORK/again")
}

build_reference() {
  local module=$ROOT/bundle/go/kubernetes name flags='-s -w' package
  mkdir -p "$REFERENCE"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=v1.36.3 -X $package.gitMajor=1 -X $package.gitMinor=36 -X $package.gitTreeState=clean"
  done
  for name in kubeadm kubelet; do
    [ -x "$REFERENCE/$name" ] || {
      step "Building the reference $name (1-2 minutes)"
      (cd "$module" && CGO_ENABLED=0 go build -tags reference -trimpath -ldflags "$flags" -o "$REFERENCE/$name" "k8s.io/kubernetes/cmd/$name")
    }
  done
}

# A host with containerd, kubelet and kubeadm as packages would leave it, images loaded.
prepare_stock() {
  local image
  JUNIOADM_BUNDLE=$BUNDLE "$JUNIOADM" lab up $STOCK --hosts-only --suite "$SUITE" >/dev/null 2>&1
  for name in kubeadm kubelet; do docker cp -q "$REFERENCE/$name" "$STOCK-1:/usr/local/bin/$name"; done
  our_config "$(address $STOCK)" | on $STOCK 'cat > /root/ours.yaml; junioadm init phase images --config /root/ours.yaml >/dev/null 2>&1
    # the same flannel as ours, out of a dry run
    junioadm init --config /root/ours.yaml --dry-run >/dev/null 2>&1
    awk "BEGIN {RS=\"---\\n\"} /flannel/ {printf \"---\\n%s\", \$0}" /etc/kubernetes/tmp/*/objects.yaml >/root/flannel.yaml
    rm -rf /etc/kubernetes; grep -q DaemonSet /root/flannel.yaml' || fail "the stock host could not be prepared"
  on $STOCK '
    mkdir -p /etc/containerd /etc/systemd/system/kubelet.service.d /opt/cni/bin
    containerd config default | sed -e "s#sandbox_image = .*#sandbox_image = \"registry.k8s.io/pause:3.10.2\"#" -e "s#bin_dir = .*#bin_dir = \"/opt/cni/bin\"#" >/etc/containerd/config.toml
    systemctl restart containerd
    docker save $(docker images --format "{{.Repository}}:{{.Tag}}" | grep registry.k8s.io) | ctr -n k8s.io images import - >/dev/null
    cat >/etc/systemd/system/kubelet.service <<UNIT
[Unit]
After=containerd.service
[Service]
ExecStart=/usr/local/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10
[Install]
WantedBy=multi-user.target
UNIT
    cat >/etc/systemd/system/kubelet.service.d/10-kubeadm.conf <<"UNIT"
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=
ExecStart=/usr/local/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS
UNIT
    systemctl daemon-reload; systemctl enable kubelet >/dev/null 2>&1'
  cat <<YAML | on $STOCK 'cat > /root/kubeadm.yaml'
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $(address $STOCK)}
nodeRegistration: {criSocket: "unix:///run/containerd/containerd.sock"}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
networking: {podSubnet: 10.244.0.0/16}
dns: {imageTag: $(image_tag coredns/coredns)}
etcd: {local: {imageTag: "$(image_tag etcd)"}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack: {maxPerCore: 0}
YAML
}
image_tag() { "$JUNIOADM" config images list | sed -n "s#.*/$1:##p"; }

reference() {
  local run start
  build_reference
  : >"$WORK/stock"; : >"$WORK/stock-init"
  for run in $(seq "$RUNS"); do
    step "stock, run $run of $RUNS"
    prepare_stock
    start=$(now)
    on $STOCK 'kubeadm init --config /root/kubeadm.yaml --ignore-preflight-errors=all' >"$WORK/kubeadm.out" 2>&1 || { tail -40 "$WORK/kubeadm.out" >&2; on $STOCK 'journalctl -u kubelet --no-pager | tail -20' >&2; fail "stock kubeadm init failed"; }
    since "$start" >>"$WORK/stock-init"; echo >>"$WORK/stock-init"
    on $STOCK "kubectl apply -f /root/flannel.yaml >/dev/null && $ADMIN_READY"
    since "$start" >>"$WORK/stock"; echo >>"$WORK/stock"
    [ "$run" != "$RUNS" ] || { step "stock kubelet, idle with $PODS pods"; kubelet_figures $STOCK kubelet stock; }
    "$JUNIOADM" lab down $STOCK >/dev/null 2>&1
  done
  RESULT[stock.ready]=$(median <"$WORK/stock") RESULT[stock.init]=$(median <"$WORK/stock-init")
}

ratio() { [ -n "$1" ] && [ -n "$2" ] && awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a / b}' || echo -; }
row() { printf '| %s | %s | %s | %s | %s |\n' "$1" "${2:--}" "${3:--}" "$(ratio "$2" "$3")" "$4"; }

table() {
  echo "| measure (median of $RUNS, $SUITE host, $(nproc) cores) | junioadm | stock kubeadm + kubelet + containerd | ratio | bar |"
  echo "|---|---|---|---|---|"
  row "init, images loaded, to node Ready and CoreDNS rolled out, network included (s)" "${RESULT[ours.warm]:-}" "${RESULT[stock.ready]:-}" "6"
  row "the same, nothing loaded, bundle on disk (s)" "${RESULT[ours.cold]:-}" "" "10"
  row "kubeadm init alone, no network (s)" "" "${RESULT[stock.init]:-}" ""
  row "init again on the finished host (s)" "${RESULT[ours.again]:-}" "fails" "1"
  row "kubelet RSS, ${RESULT[ours.pods]:-$PODS} pods (MB)" "${RESULT[ours.rss]:-}" "${RESULT[stock.rss]:-}" "25"
  row "kubelet idle CPU (% of a core)" "${RESULT[ours.cpu]:-}" "${RESULT[stock.cpu]:-}" "0.3"
  row "bundle (MB)" "$(du -m --apparent-size "$BUNDLE" | cut -f1)" "" "80"
}

report() {
  {
    echo "# Bench"
    echo
    echo "Made by \`make bench\` at commit $(git -C "$ROOT" rev-parse --short HEAD) (cargo profile \`ci\`). Machines differ: read the ratios."
    echo
    table
    [ ! -s "$WORK/timeline" ] || { echo; echo "## Where the time of one warm init goes"; echo; echo '```text'; cat "$WORK/timeline"; echo '```'; }
  } | tee "${BENCH_OUT:-$ROOT/docs/BENCH.md}"
}

"$ROOT/scripts/setup.sh" >/dev/null
"$ROOT/scripts/build.sh"
trap 'echo "bench stopped in line $LINENO" >&2; report' ERR
case "${1:-both}" in
  ours) ours ;;
  reference) reference ;;
  both) ours; report; reference ;;
  *) fail "unknown argument $1" "scripts/bench.sh [ours|reference]" ;;
esac
report
