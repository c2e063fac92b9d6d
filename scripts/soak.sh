#!/usr/bin/env bash
# The robustness tests of the machine ring (tests/it/robust) in their long form: 200 kills of the kubelet under churn, an API
# server that is away for ten minutes, the rest as in `make test`. About an hour on 2 cores.
#   KILLS=200 OUTAGE=600 scripts/soak.sh [TEST]     TEST: a part of a test's name; default: all of robust
source "$(dirname "$0")/common.sh"

case "${1:-}" in -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
need_root
export JUNIO_SOAK_KILLS=${KILLS:-200} JUNIO_SOAK_OUTAGE=${OUTAGE:-600}
"$ROOT/scripts/setup.sh"
"$ROOT/scripts/build.sh"
log=$LOG_DIR/soak.log
step "Soaking: $JUNIO_SOAK_KILLS kills, $JUNIO_SOAK_OUTAGE s without an API server (log: $log)"
# one test after the other: each wants the machine for itself
if JUNIOADM_BUNDLE=$BUNDLE cargo test --manifest-path "$ROOT/Cargo.toml" --locked --profile ci --workspace --test it -- \
  --test-threads 1 "${1:-robust::}" >"$log" 2>&1; then
  grep '^test result' "$log"
else
  tail -n 60 "$log" >&2
  fail "a robustness test failed (log: $log)" "scripts/soak.sh NAME-OF-THE-TEST"
fi
