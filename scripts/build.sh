#!/usr/bin/env bash
# Builds what hosts get: junioadm, junio-kubelet (cargo profile `ci`, static) and the bundle. Only what is missing or older.
#   scripts/build.sh [binaries|bundle]     default: both
# The bundle step compiles Kubernetes and friends on its first run (minutes); later runs reuse what is compiled.
source "$(dirname "$0")/common.sh"

build_binaries() {
  step "Building junioadm and junio-kubelet (log: $LOG_DIR/build.log)"
  cargo build --manifest-path "$ROOT/Cargo.toml" --locked --profile ci --workspace --bins 2>&1 |
    tee "$LOG_DIR/build.log" | grep -E --line-buffered '^ *(Compiling junio|Finished|error|warning: unused)' >&2 || true
  grep -q '^ *Finished' "$LOG_DIR/build.log" || { tail -n 40 "$LOG_DIR/build.log" >&2; fail "the Rust build failed (log: $LOG_DIR/build.log)"; }
}

build_bundle() {
  step "Building the bundle (the first run compiles Kubernetes: about 8 minutes on 2 cores; log: $LOG_DIR/bundle.log)"
  "$BIN_DIR/junio-bundle" build --source "$ROOT/bundle" --out "$BUNDLE" --kubelet "$BIN_DIR/junio-kubelet" --junioadm "$BIN_DIR/junioadm" 2>&1 |
    tee "$LOG_DIR/bundle.log" | sed 's/^/    /' >&2 || fail "the bundle could not be built (log: $LOG_DIR/bundle.log)"
  note "bundle: $BUNDLE ($(du -h --apparent-size "$BUNDLE" | cut -f1))"
}

case "${1:-all}" in
  binaries) build_binaries ;;
  bundle) build_bundle ;;
  all) build_binaries; build_bundle ;;
  *) fail "unknown argument $1" "scripts/build.sh [binaries|bundle]" ;;
esac
