#!/usr/bin/env bash
# The images that upstream's conformance suite runs, under upstream's names: those of scripts/test-images.sh and what can be
# made of them without a registry. docs/CONFORMANCE.md says how each differs from upstream's. Needs root and Docker Engine.
#   output: $CACHE/conformance/images.tar for `docker load`, and $CACHE/conformance/registry, a file system for docker-registry
#           with the one image that the suite insists on pulling
source "$(dirname "$0")/common.sh"
need_root

DIR=$CACHE/conformance
BIN=$DIR/bin
OUT=$DIR/images.tar
E2E=registry.k8s.io/e2e-test-images
AGNHOST=$E2E/agnhost:2.63.0
NGINX=$E2E/nginx:1.27-0
# what the specs name: agnhost and nginx in two versions each, which must be two images
FROM_BASE="$AGNHOST $E2E/busybox:1.37.0-1 $NGINX"
MADE="$E2E/agnhost:2.55 $E2E/glibc-dns-testing:2.0.0 $E2E/kitten:1.8 $E2E/nautilus:1.8 $E2E/nginx:1.15-4
$E2E/nonewprivs:1.4 $E2E/sample-apiserver:1.29.2 registry.k8s.io/etcd:3.6.8-0"

mkdir -p "$DIR"
exec 9>"$DIR/lock"
flock 9
"$ROOT/scripts/conformance-build.sh"
"$ROOT/scripts/test-images.sh"

stamp=$(cat "$0" "$CACHE/test-images.tar.stamp" "$BIN"/{nnp,sample-apiserver}.stamp | sha256sum | cut -c1-64)
if [ -s "$OUT" ] && [ "$(cat "$OUT.stamp" 2>/dev/null)" = "$stamp" ]; then
  note "conformance images: up to date"
  exit 0
fi
rm -f "$OUT.stamp"
WORK=$(mktemp -d "$DIR/work.XXXXXX")
REGISTRY_PID=
cleanup() {
  [ -z "$REGISTRY_PID" ] || kill "$REGISTRY_PID" 2>/dev/null || true
  rm -rf "$WORK"
}
trap cleanup EXIT

# image NAME CONTEXT: `docker build` of a Dockerfile on stdin, by the engine's own builder, which is in every engine and
# finds base images by their local names.
image() {
  mkdir -p "$2"
  cat >"$2/Dockerfile"
  DOCKER_BUILDKIT=0 docker build --network none --quiet --tag "$1" "$2" >"$LOG_DIR/conformance-images.log" 2>&1 ||
    { tail -n 20 "$LOG_DIR/conformance-images.log" >&2; fail "the image $1 could not be built (log: $LOG_DIR/conformance-images.log)"; }
}

step "Building the conformance suite's images"
upstream=$(cd "$ROOT/bundle/go/kubernetes" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)/test/images
docker load --quiet --input "$CACHE/test-images.tar" >/dev/null

image $E2E/agnhost:2.55 "$WORK/previous" <<DOCKERFILE
FROM $AGNHOST
LABEL junioadm.previous=2.55
DOCKERFILE
image $E2E/glibc-dns-testing:2.0.0 "$WORK/dns" <<DOCKERFILE
FROM $AGNHOST
ENTRYPOINT []
CMD ["bash"]
DOCKERFILE
for name in nautilus kitten; do
  mkdir -p "$WORK/$name"
  install -m 0644 "$upstream/$name"/html/* "$WORK/$name/"
done
image $E2E/nautilus:1.8 "$WORK/nautilus" <<DOCKERFILE
FROM $AGNHOST
COPY nautilus.jpg data.json /
CMD ["test-webserver"]
DOCKERFILE
# The image volume spec looks for the name of upstream's base image in /etc/os-release.
printf 'NAME="Alpine Linux"\nID=alpine\n' >"$WORK/kitten/os-release"
image $E2E/kitten:1.8 "$WORK/kitten" <<DOCKERFILE
FROM $AGNHOST
COPY kitten.jpg data.json /
COPY os-release /etc/os-release
CMD ["test-webserver"]
DOCKERFILE
image $E2E/nginx:1.15-4 "$WORK/nginx" <<DOCKERFILE
FROM $NGINX
LABEL junioadm.previous=1.15-4
DOCKERFILE
mkdir -p "$WORK/nonewprivs" "$WORK/sample"
install -m 6755 "$BIN/nnp" "$WORK/nonewprivs/nnp"
image $E2E/nonewprivs:1.4 "$WORK/nonewprivs" <<DOCKERFILE
FROM scratch
ENV PATH=/usr/local/bin
COPY nnp /usr/local/bin/nnp
CMD ["nnp"]
DOCKERFILE
install -m 0755 "$BIN/sample-apiserver" "$WORK/sample/sample-apiserver"
mkdir -m 1777 "$WORK/sample/tmp"
image $E2E/sample-apiserver:1.29.2 "$WORK/sample" <<DOCKERFILE
FROM scratch
COPY . /
ENTRYPOINT ["/sample-apiserver"]
DOCKERFILE
# The spec deploys upstream's etcd beside the sample API server; ours is the bundle's, a newer patch level of the same minor.
etcd=$("$BIN_DIR/junio-bundle" list "$BUNDLE" | grep -o 'registry\.k8s\.io/etcd:[0-9.-]*' | head -n 1)
[ -n "$etcd" ] || fail "$BUNDLE has no etcd image" "scripts/build.sh"
"$BIN_DIR/junio-bundle" export "$BUNDLE" "$etcd" --out "$WORK/etcd.tar" >/dev/null
docker load --quiet --input "$WORK/etcd.tar" >/dev/null
docker tag "$etcd" registry.k8s.io/etcd:3.6.8-0

# One spec pulls its image with the policy Always. docker-registry serves it on the hosts; it is filled here by a push.
# (upstream's registry from the distribution, unpacked and not installed)
(cd "$WORK" && apt-get download docker-registry && dpkg-deb -x docker-registry_*.deb registry-package) >"$LOG_DIR/conformance-images.log" 2>&1 ||
  { tail -n 5 "$LOG_DIR/conformance-images.log" >&2; fail "the package docker-registry could not be fetched" "apt-get update"; }
install -m 0755 "$WORK/registry-package/usr/bin/docker-registry" "$BIN/docker-registry"
rm -rf "$DIR/registry"
port=5055
cat >"$WORK/registry.yml" <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: $DIR/registry}}
http: {addr: "127.0.0.1:$port"}
YAML
"$BIN/docker-registry" serve "$WORK/registry.yml" >"$LOG_DIR/conformance-registry.log" 2>&1 &
REGISTRY_PID=$!
local_name=127.0.0.1:$port/e2e-test-images/kitten:1.8
docker tag $E2E/kitten:1.8 "$local_name"
curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$port/v2/" >/dev/null ||
  fail "docker-registry does not answer (log: $LOG_DIR/conformance-registry.log)"
docker push --quiet "$local_name" >/dev/null
docker image rm "$local_name" >/dev/null

# shellcheck disable=SC2086
docker save --output "$OUT.part" $FROM_BASE $MADE
mv "$OUT.part" "$OUT"
# shellcheck disable=SC2086
docker image rm $FROM_BASE $MADE >/dev/null
echo "$stamp" >"$OUT.stamp"
note "conformance images: $(du -m "$OUT" | cut -f1) MB"
