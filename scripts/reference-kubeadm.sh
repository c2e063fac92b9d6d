#!/usr/bin/env bash
# Builds kubeadm from the pinned Kubernetes module, for tests that compare us with it; never part of the bundle.
# Prints the binary's path on stdout and does nothing else when it is there already.
source "$(dirname "$0")/common.sh"

module=$ROOT/bundle/go/kubernetes
version=$(cd "$module" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
out=$CACHE/reference/kubeadm
stamp=$version-$(sha256sum "$module/go.sum" | cut -c1-16)
mkdir -p "$CACHE/reference"
exec 9>"$CACHE/reference/kubeadm.lock"
flock 9 # tests of several crates may ask at once

if [ ! -x "$out" ] || [ "$(cat "$out.stamp" 2>/dev/null)" != "$stamp" ]; then
  step "go build kubeadm $version (one to three minutes)"
  IFS=. read -r major minor _ <<<"${version#v}"
  stamps="-X k8s.io/component-base/version."
  cd "$module"
  CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=readonly" go build -tags reference -trimpath -o "$out.part" \
    -ldflags "-s -w ${stamps}gitVersion=$version ${stamps}gitMajor=$major ${stamps}gitMinor=$minor ${stamps}gitTreeState=clean" \
    k8s.io/kubernetes/cmd/kubeadm >&2
  mv "$out.part" "$out"
  echo "$stamp" >"$out.stamp"
fi
echo "$out"
