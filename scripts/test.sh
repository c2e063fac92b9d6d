#!/usr/bin/env bash
# `make test`: all rings that a push must pass. Every ring runs, whatever an earlier one found.
# The last line is `N passed, N failed`; the exit code is 0 only when nothing failed and no ring was skipped by accident.
#   RINGS="style unit machine" scripts/test.sh     a subset, by name (a ring left out is reported as skipped)
source "$(dirname "$0")/common.sh"
set +e

ALL_RINGS="style arrows deny unit machine conformance"
RINGS=${RINGS:-$ALL_RINGS}
PASSED=0 FAILED=0 IGNORED=0
PROBLEMS=()
STARTED=$SECONDS

ring() { printf '\n%s=== ring: %s%s  (%s, %d s so far)\n' "$BOLD" "$1" "$RESET" "$2" $((SECONDS - STARTED)) >&2; }

# check NAME COMMAND...: one command that counts as one test; its output is shown only when it fails.
check() {
  local name=$1 log
  shift
  log=$LOG_DIR/check-${name//[^a-z0-9]/-}.log
  if "$@" >"$log" 2>&1; then
    PASSED=$((PASSED + 1)); note "$name: ok"
  else
    FAILED=$((FAILED + 1)); PROBLEMS+=("$name (log: $log)"); note "$name: FAILED"; tail -n 60 "$log" >&2
  fi
}

# cargo_tests NAME ARGUMENTS...: always with --workspace, so that all rings share what is compiled. A cargo test run; its tests are counted, its failures printed, the log kept.
cargo_tests() {
  local name=$1 log status passed failed ignored line
  shift
  log=$LOG_DIR/test-$name.log
  cargo test --manifest-path "$ROOT/Cargo.toml" --locked --profile ci --no-fail-fast "$@" 2>&1 | tee "$log" |
    grep -E --line-buffered '^ *(Compiling junio|Finished|Running|Doc-tests)|^test result|^test .*FAILED|panicked at|^error' >&2
  status=${PIPESTATUS[0]}
  passed=$(count passed "$log") failed=$(count failed "$log") ignored=$(count ignored "$log")
  PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) IGNORED=$((IGNORED + ignored))
  while read -r line; do PROBLEMS+=("$name: $line"); done < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
  if [ "$status" != 0 ] && [ "$failed" = 0 ]; then
    # it did not compile, or a test process died: the tests behind it never ran
    FAILED=$((FAILED + 1)); PROBLEMS+=("$name: cargo test ended with $status (log: $log)"); tail -n 60 "$log" >&2
  elif [ "$failed" != 0 ]; then
    sed -n '/^failures:$/,/^test result/p' "$log" | tail -n 200 >&2
    note "log: $log"
  fi
}

# count WORD LOG: the sum of `N WORD` over all `test result:` lines.
count() { awk -v word="$1" '/^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ "^" word) sum += $(i - 1) } END { print sum + 0 }' "$2"; }

if "$ROOT/scripts/setup.sh"; then PASSED=$((PASSED + 1)); else FAILED=$((FAILED + 1)); PROBLEMS+=("setup"); fi

for name in $ALL_RINGS; do
  case " $RINGS " in *" $name "*) ;; *)
    printf '\n*** ring %s is SKIPPED: not in RINGS="%s" ***\n' "$name" "$RINGS" >&2
    SKIPPED="${SKIPPED:-} $name"
    continue ;;
  esac
  case $name in
    style)
      ring style "rustfmt, clippy with warnings denied"
      check "rustfmt" cargo fmt --manifest-path "$ROOT/Cargo.toml" --all --check
      check "clippy" cargo clippy --manifest-path "$ROOT/Cargo.toml" --locked --profile ci --workspace --all-targets -- -D warnings
      # not among all targets: cargo test leaves this one out unless it is named
      check "clippy of the machine ring" cargo clippy --manifest-path "$ROOT/Cargo.toml" --locked --profile ci --workspace --test '*' -- -D warnings
      # bash -n reads one file only
      check "shell syntax" bash -c 'for file; do bash -n "$file" || exit 1; done' _ "$ROOT"/scripts/*.sh "$ROOT"/scripts/*/*.sh
      ;;
    arrows)
      ring arrows "which crate may use which, from cargo metadata"
      cargo_tests arrows --workspace --test arrows
      ;;
    deny)
      ring deny "licences, banned crates, sources"
      check "cargo-deny" "$ROOT/scripts/deny.sh"
      ;;
    unit)
      ring unit "unit, property, snapshot and process tests of all crates"
      cargo_tests unit --workspace
      ;;
    machine)
      ring machine "lab hosts on this machine"
      if "$ROOT/scripts/build.sh" && "$ROOT/scripts/test-images.sh"; then
        (disk_room) || PROBLEMS+=("machine: too little disk; what failed below failed of that (see above)")
        JUNIOADM_BUNDLE=$BUNDLE cargo_tests machine --workspace --test it
      else
        FAILED=$((FAILED + 1)); PROBLEMS+=("machine: the build failed, its tests did not run")
      fi
      ;;
    conformance)
      ring conformance "the quick specs of upstream's conformance suite on a lab cluster"
      FAST=1 RECORD=0 HOSTS=1 NODES=3 LAB="ring-$$" "$ROOT/scripts/conformance.sh" >"$LOG_DIR/conformance-ring.log"
      status=$?
      read -r _ passed failed _ < <(grep '^all ' "$LOG_DIR/conformance-ring.log" || echo all 0 0 0)
      PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
      while read -r line; do PROBLEMS+=("conformance: $line"); done < <(sed -n 's/^FAIL //p' "$LOG_DIR/conformance-ring.log")
      if [ "$status" != 0 ]; then
        cat "$LOG_DIR/conformance-ring.log" >&2
        [ "$failed" != 0 ] || { FAILED=$((FAILED + 1)); PROBLEMS+=("conformance: the run itself failed"); }
      fi
      ;;
  esac
done

printf '\n' >&2
[ ${#PROBLEMS[@]} = 0 ] || { printf '%s\n' "failed:" >&2; printf '  %s\n' "${PROBLEMS[@]}" >&2; }
[ "$IGNORED" = 0 ] || printf '*** %d tests are marked ignored and did not run ***\n' "$IGNORED" >&2
[ -z "${SKIPPED:-}" ] || printf '*** rings skipped:%s ***\n' "$SKIPPED" >&2
note "$((SECONDS - STARTED)) s in all; logs in $LOG_DIR"
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" = 0 ]
