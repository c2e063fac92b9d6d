#!/usr/bin/env bash
# Writes api/src/config/schema/types.json anew from the Go types of the pinned Kubernetes modules: names and types of the
# fields of Pod, Deployment, KubeletConfiguration and KubeProxyConfiguration, and how patches merge their lists.
# To be run when the Kubernetes version in bundle/go/kubernetes/go.mod changes.
source "$(dirname "$0")/common.sh"

out=$ROOT/api/src/config/schema/types.json
cd "$ROOT/bundle/go/kubernetes"
CGO_ENABLED=0 GOFLAGS="-buildvcs=false -mod=readonly" go run -tags reference ./schema >"$out.part"
mv "$out.part" "$out"
note "$(wc -l <"$out") lines in ${out#"$ROOT"/}"
