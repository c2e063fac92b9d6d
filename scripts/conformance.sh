#!/usr/bin/env bash
# `make conformance`: upstream's conformance suite on a lab cluster of this checkout. Without FOCUS and SKIP it runs all of
# [Conformance]; the committed table tests/conformance/results.tsv takes over what ran, with the commit it ran on.
#   FOCUS=REGEX SKIP=REGEX    which specs, by name (ginkgo's meaning)        FAST=1   those of tests/conformance/fast.txt
#   HOSTS=2   one control plane, the others workers        SUITE=trixie|bookworm      NODES=4   specs at a time
#   RECORD=0  leave the table alone    KEEP=1  leave the lab standing    LAB=NAME  default: conf    BUILD=0  what is built already
# Exit code 0 only when something ran and nothing failed. Logs, JUnit files and the hosts' journals: the directory it names.
source "$(dirname "$0")/common.sh"
need_root

HOSTS=${HOSTS:-2}
SUITE=${SUITE:-trixie}
NODES=${NODES:-4}
LAB=${LAB:-conf}
TABLE=$ROOT/tests/conformance/results.tsv
CONFORMANCE=$CACHE/conformance
JUNIOADM=$BIN_DIR/junioadm
RUN=$LOG_DIR/conformance/$(date -u +%Y%m%dT%H%M%SZ)-$LAB
if [ -n "${FAST:-}" ]; then
  FOCUS=$(grep -v -e '^#' -e '^$' "$ROOT/tests/conformance/fast.txt" | paste -s -d '|')
fi
FOCUS=${FOCUS:-'\[Conformance\]'}
case $HOSTS in [1-9]) ;; *) fail "HOSTS is $HOSTS; it is a number of hosts from 1 to 9" "make conformance HOSTS=2" ;; esac
case $NODES in [1-9] | [1-9][0-9]) ;; *) fail "NODES is $NODES; it is a number of specs that run at a time" "make conformance NODES=4" ;; esac

mkdir -p "$RUN/bin"
GINKGO_PID=
LAB_IS_OURS=

on_host() { docker exec -i "$LAB-$1" "${@:2}"; }
each_host() { local host; for host in $(seq "$HOSTS"); do "$@" "$host"; done; }

keep_journal() {
  on_host "$1" journalctl --no-pager -u junio-kubelet >"$RUN/$LAB-$1-kubelet.log" 2>&1 || true
  on_host "$1" journalctl --no-pager -u docker >"$RUN/$LAB-$1-docker.log" 2>&1 || true
}

finish() {
  local status=$?
  trap - EXIT INT TERM
  # ginkgo waits for its suites; these end on TERM after cleaning up
  if [ -n "$GINKGO_PID" ]; then pkill -TERM -P "$GINKGO_PID" || true; wait "$GINKGO_PID" 2>/dev/null || true; fi
  if [ -n "$LAB_IS_OURS" ]; then
    each_host keep_journal
    if [ -n "${KEEP:-}" ]; then
      note "the lab stands; remove it with: $JUNIOADM lab down $LAB"
    else
      "$JUNIOADM" lab down "$LAB" >"$RUN/lab-down.log" 2>&1 || { tail -n 5 "$RUN/lab-down.log" >&2; status=1; }
    fi
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The images come from no registry: one that the kubelet collected, because the machine's disk is full, would never come back.
load_images() {
  on_host "$1" sh -c 'echo "imageGCHighThresholdPercent: 100" >>/var/lib/kubelet/config.yaml && systemctl restart junio-kubelet' &&
    on_host "$1" docker load --quiet <"$CONFORMANCE/images.tar" >"$RUN/load-$1.log" 2>&1
}

# The registry that one spec pulls from, on the first host, under upstream's name and with a certificate of its own.
serve_registry() {
  local address
  address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$LAB-1")
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=registry.k8s.io \
    -addext subjectAltName=DNS:registry.k8s.io -keyout "$RUN/registry.key" -out "$RUN/registry.crt" 2>"$RUN/registry.log"
  printf '%s\n' 'version: 0.1' 'storage: {filesystem: {rootdirectory: /var/lib/conformance/registry}}' \
    "http: {addr: \"$address:443\", tls: {certificate: /var/lib/conformance/registry.crt, key: /var/lib/conformance/registry.key}}" \
    >"$RUN/registry.yml"
  tar -c -C "$CONFORMANCE" registry -C "$CONFORMANCE/bin" docker-registry -C "$RUN" registry.crt registry.key registry.yml |
    on_host 1 sh -c 'mkdir -p /var/lib/conformance && tar -x -C /var/lib/conformance'
  rm "$RUN/registry.key"
  on_host 1 systemd-run --quiet --unit conformance-registry \
    /var/lib/conformance/docker-registry serve /var/lib/conformance/registry.yml
  local host
  for host in $(seq "$HOSTS"); do
    on_host "$host" sh -c 'mkdir -p /etc/docker/certs.d/registry.k8s.io && cat >/etc/docker/certs.d/registry.k8s.io/ca.crt' <"$RUN/registry.crt"
    on_host "$host" sh -c "echo '$address registry.k8s.io' >>/etc/hosts"
    on_host "$host" curl --silent --fail --retry 30 --retry-connrefused --retry-delay 1 \
      --cacert /etc/docker/certs.d/registry.k8s.io/ca.crt https://registry.k8s.io/v2/ >>"$RUN/registry.log" ||
      fail "the image registry on $LAB-1 does not answer" "docker exec $LAB-1 journalctl -u conformance-registry"
  done
}

# A lab of that name is somebody's. One of the ring's whose `make test` is gone is nobody's.
lab_names() { "$JUNIOADM" lab list --output json | jq --raw-output '.[].name'; }
make_room() {
  local name
  while read -r name; do
    case $name in
      "$LAB") fail "there is a lab $LAB already" "$JUNIOADM lab down $LAB, or LAB=another-name" ;;
      ring-*) [ -e "/proc/${name#ring-}" ] || "$JUNIOADM" lab down "$name" >"$RUN/lab-down.log" 2>&1 || true ;;
    esac
  done < <(lab_names)
}

up() {
  make_room
  step "Starting the lab $LAB: $HOSTS host(s), $SUITE"
  LAB_IS_OURS=1
  JUNIOADM_BUNDLE=$BUNDLE "$JUNIOADM" lab up "$LAB" --workers $((HOSTS - 1)) --suite "$SUITE" >"$RUN/lab-up.log" 2>&1 ||
    { tail -n 30 "$RUN/lab-up.log" >&2; fail "the lab did not start (log: $RUN/lab-up.log)"; }
  KUBECONFIG=$("$JUNIOADM" lab kubeconfig "$LAB")
  export KUBECONFIG
  docker cp "$LAB-1:/usr/local/bin/kubectl" "$RUN/bin/kubectl" >/dev/null
  PATH=$RUN/bin:$PATH
  kubectl taint nodes --selector node-role.kubernetes.io/control-plane node-role.kubernetes.io/control-plane- >/dev/null
  step "Loading the suite's images"
  local host pids=()
  for host in $(seq "$HOSTS"); do load_images "$host" & pids+=($!); done
  for host in "${pids[@]}"; do wait "$host" || fail "a host could not load the images (logs: $RUN/load-*.log)"; done
  serve_registry
  kubectl wait --for=condition=Ready nodes --all --timeout=120s >/dev/null
  kubectl wait --for=condition=Ready pods --all --namespace kube-system --timeout=300s >/dev/null ||
    fail "not all system pods are ready" "KUBECONFIG=$KUBECONFIG kubectl get pods -A"
  kubectl get nodes,pods --all-namespaces --output wide >"$RUN/cluster.txt"
}

# part NAME PROCESSES LABELS: one run of ginkgo. Specs are left out by labels of upstream's, so that no name is parsed here.
part() {
  local name=$1 skip=()
  [ -z "${SKIP:-}" ] || skip=("--skip=$SKIP")
  step "Running $name (log: $RUN/$name.log)"
  nice "$CONFORMANCE/bin/ginkgo" --nodes="$2" --no-color --silence-skips --timeout=24h --label-filter="$3" --focus="$FOCUS" "${skip[@]}" \
    --output-dir="$RUN" --json-report="$name.json" "$CONFORMANCE/bin/e2e.test" -- \
    --kubeconfig="$KUBECONFIG" --provider=skeleton --report-dir="$RUN" --report-prefix="$name-" >"$RUN/$name.log" 2>&1 &
  GINKGO_PID=$!
  wait "$GINKGO_PID" || true # what failed is in the report
  GINKGO_PID=
  [ -s "$RUN/$name.json" ] || { tail -n 30 "$RUN/$name.log" >&2; fail "the suite wrote no report (log: $RUN/$name.log)"; }
  jq --raw-output --from-file "$ROOT/tests/conformance/report.jq" "$RUN/$name.json" >"$RUN/$name.tsv"
  if jq --exit-status 'any(.[]; .SuiteSucceeded | not)' "$RUN/$name.json" >/dev/null && ! grep -q '^fail' "$RUN/$name.tsv"; then
    jq --raw-output '.[].SpecialSuiteFailureReasons[]?, (.[].SpecReports[] | select(.LeafNodeType != "It" and .Failure) | .Failure.Message)' \
      "$RUN/$name.json" | head -n 20 >&2
    fail "the suite's own preparation failed (log: $RUN/$name.log)"
  fi
}

# The table takes over what ran; rows of other specs stay as they are. Sorted by name.
record() {
  [ -e "$TABLE" ] || : >"$TABLE"
  {
    echo "# Upstream's conformance suite v1.36.3, spec by spec. Written by scripts/conformance.sh; docs/CONFORMANCE.md explains it."
    printf '# result\tseconds\tcommit\thosts\tsuite\tspec\n'
    awk -F '\t' -v OFS='\t' -v commit="$COMMIT" -v hosts="$HOSTS" -v suite="$SUITE" '
      FILENAME == ARGV[1] { if ($0 !~ /^#/) row[$6] = $0; next }
      $1 != "-" { row[$3] = $1 OFS $2 OFS commit OFS hosts OFS suite OFS $3 }
      $1 == "-" && !($3 in row) { row[$3] = "-" OFS "-" OFS "-" OFS "-" OFS "-" OFS $3 }
      END { for (name in row) print row[name] }' "$TABLE" "$RUN/results.tsv" | LC_ALL=C sort -t "$(printf '\t')" -k 6
  } >"$RUN/table"
  cp "$RUN/table" "$TABLE"
}

# summary: by SIG, then every failure with the first lines of its error.
summary() {
  awk -F '\t' '
    $1 == "-" { next }
    { match($3, /\[sig-[a-z-]+\]/); sig = substr($3, RSTART, RLENGTH); count[sig, $1]++; sigs[sig]; total[$1]++ }
    END {
      printf "%-26s %6s %6s %6s\n", "", "pass", "fail", "skip"
      sort = "LC_ALL=C sort"
      for (sig in sigs) printf "%-26s %6d %6d %6d\n", sig, count[sig, "pass"], count[sig, "fail"], count[sig, "skip"] | sort
      close(sort)
      printf "%-26s %6d %6d %6d\n", "all", total["pass"], total["fail"], total["skip"]
    }' "$RUN/results.tsv"
  awk -F '\t' '$1 == "fail" { printf "\nFAIL %s (%s s)\n     %s\n", $3, $2, $4 }' "$RUN/results.tsv"
}

# what is tested is what is built now, whatever is committed while it runs
COMMIT=$(git -C "$ROOT" rev-parse --short=12 HEAD)
[ -z "$(git -C "$ROOT" status --porcelain --untracked-files=no -- . ":!$TABLE")" ] || COMMIT=$COMMIT+changes
[ "${BUILD:-1}" = 0 ] || "$ROOT/scripts/build.sh"
"$ROOT/scripts/conformance-images.sh"
up
part parallel "$NODES" '!Serial && !Slow'
part serial 1 'Serial || Slow'
# a spec is in both reports: the line of the part that ran it counts
awk -F '\t' '!($3 in line) || $1 != "-" { line[$3] = $0 } END { for (name in line) print line[name] }' "$RUN"/{parallel,serial}.tsv |
  LC_ALL=C sort -t "$(printf '\t')" -k 3 >"$RUN/results.tsv"
[ "${RECORD:-1}" = 0 ] || record
summary | tee "$RUN/summary.txt"
note "logs: $RUN"
grep -q '^pass' "$RUN/results.tsv" || fail "no spec passed, or FOCUS names none"
! grep -q '^fail' "$RUN/results.tsv"
