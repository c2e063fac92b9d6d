#!/usr/bin/env bash
# Builds the bundle around the binaries that cargo has built already. Only what changed is compiled and compressed again.
#   scripts/bundle.sh [OUT]          default: $BUNDLE
#   LEVEL=19 scripts/bundle.sh       compressed as for a release; 3 is quick
source "$(dirname "$0")/common.sh"

OUT=${1:-$BUNDLE}
mkdir -p "$(dirname "$OUT")"
exec "$BIN_DIR/junio-bundle" build --source "$ROOT/bundle" --cache "$CACHE" --out "$OUT" --level "${LEVEL:-3}" \
  --kubelet "$BIN_DIR/junio-kubelet" --junioadm "$BIN_DIR/junioadm"
