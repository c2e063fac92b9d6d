#!/usr/bin/env bash
# Builds upstream's conformance suite (e2e.test, ginkgo) and two programs that its images need, from pinned Go modules.
# Never part of the bundle. Does nothing when they are up to date.     output: $CACHE/conformance/bin
source "$(dirname "$0")/common.sh"

OUT=$CACHE/conformance/bin
KUBERNETES=$ROOT/bundle/go/kubernetes
SAMPLE=$ROOT/tests/conformance/sample-apiserver
mkdir -p "$OUT"
exec 9>"$OUT/lock"
flock 9

version=$(cd "$KUBERNETES" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${version#v}"
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=readonly"

# program NAME MODULE-DIRECTORY COMMAND...: runs `go COMMAND... -o OUT/NAME` in the module unless that is up to date.
program() {
  local name=$1 module=$2 stamp sources=()
  shift 2
  # only a program of the module itself is made of its files
  [ "${*: -1}" != . ] || sources=("$module"/*.go)
  stamp=$({ sha256sum "$module"/go.{mod,sum} "${sources[@]}" | cut -c1-64; echo "$*"; go env GOVERSION; } | sha256sum | cut -c1-64)
  if [ -x "$OUT/$name" ] && [ "$(cat "$OUT/$name.stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
  step "go build $name $version"
  (cd "$module" && nice go "${@:1:$#-1}" -trimpath -o "$OUT/$name.part" "${@: -1}") >"$LOG_DIR/conformance-build.log" 2>&1 ||
    { tail -n 30 "$LOG_DIR/conformance-build.log" >&2; fail "$name could not be built (log: $LOG_DIR/conformance-build.log)"; }
  mv "$OUT/$name.part" "$OUT/$name"
  echo "$stamp" >"$OUT/$name.stamp"
}

# The suite asks its own version stamp which server it talks to, and names it in user agents.
stamps=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  stamps="$stamps -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
done

program ginkgo "$KUBERNETES" build -tags reference -ldflags "-s -w" github.com/onsi/ginkgo/v2/ginkgo
program e2e.test "$KUBERNETES" test -c -tags reference -ldflags "-s -w $stamps" k8s.io/kubernetes/test/e2e
program nnp "$KUBERNETES" build -tags reference -ldflags "-s -w" k8s.io/kubernetes/test/images/nonewprivs
program sample-apiserver "$SAMPLE" build -ldflags "-s -w" .
