#!/usr/bin/env bash
# Licences, banned crates and sources of the Rust dependencies (deny.toml). Advisories need a database from outside
# and are `make advisories`. The tool is kept in the cache, so only the first run installs it.
source "$(dirname "$0")/common.sh"

VERSION=0.20.2
DENY=$TOOLS_DIR/cargo-deny-$VERSION/bin/cargo-deny

if [ ! -x "$DENY" ]; then
  step "Installing cargo-deny $VERSION (once; log: $LOG_DIR/deny-install.log)"
  # For the machine's own target: the tool is not part of the product. Unoptimised, because it runs for a second.
  (cd / && cargo "+$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")" install cargo-deny --version "$VERSION" --locked --debug --no-default-features \
    --root "$TOOLS_DIR/cargo-deny-$VERSION" --target-dir "$CACHE/tools/build") >"$LOG_DIR/deny-install.log" 2>&1 ||
    { tail -n 20 "$LOG_DIR/deny-install.log" >&2; fail "cargo-deny could not be installed (log: $LOG_DIR/deny-install.log)"; }
  rm -rf "$CACHE/tools/build"
fi
cd "$ROOT"
case "${1:-}" in
  advisories) exec "$DENY" --locked check advisories ;;
  *) exec "$DENY" --locked check licenses bans sources ;;
esac
