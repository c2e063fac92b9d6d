#!/usr/bin/env bash
# Makes a fresh Debian-like machine able to build and test junioadm. Safe to run again: it installs only what is missing.
#   scripts/setup.sh            everything: packages, Docker Engine (started), Rust, Go
#   scripts/setup.sh --check    only says what is missing, changes nothing; exit code 1 when something is
source "$(dirname "$0")/common.sh"

CHECK=
[ "${1:-}" != --check ] || CHECK=1
[ -n "$CHECK" ] || need_root

# command -> Debian package
PACKAGES="
gcc:gcc musl-gcc:musl-tools make:make git:git curl:curl jq:jq openssl:openssl tar:tar zstd:zstd
mmdebstrap:mmdebstrap iptables:iptables ip:iproute2 ssh:openssh-client ssh-keygen:openssh-client
update-ca-certificates:ca-certificates ps:procps bzip2:bzip2 xz:xz-utils dpkg-source:dpkg-dev
"

missing_packages() {
  local pair
  for pair in $PACKAGES; do have "${pair%%:*}" || echo "${pair#*:}"; done
  # The engine may come from another vendor's package; any dockerd will do. So will a remote engine that answers.
  if ! have dockerd && ! { have docker && docker info >/dev/null 2>&1; }; then echo docker.io; fi
  if ! have docker; then
    if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi
  fi
  # what the kubelet's tests run in containers, and the CNI plugins that they attach them with
  [ -e /usr/share/doc/busybox-static ] || echo busybox-static
  [ -x /opt/cni/bin/bridge ] || [ -x /usr/lib/cni/bridge ] || echo containernetworking-plugins
  # headers for the one cgo part of flannel
  [ -e /usr/include/linux/if_tun.h ] || echo linux-libc-dev
  [ -e /usr/include/x86_64-linux-gnu/sys/types.h ] || [ -e /usr/include/sys/types.h ] || echo libc6-dev
}

install_packages() {
  local wanted
  wanted=$(missing_packages | sort -u | tr '\n' ' ')
  if [ -z "${wanted// /}" ]; then note "packages: nothing is missing"; return; fi
  [ -z "$CHECK" ] || { note "packages missing: $wanted"; MISSING=1; return; }
  have apt-get || fail "these packages are missing and there is no apt-get: $wanted" "install them with your package manager"
  step "Installing packages: $wanted"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >"$LOG_DIR/apt.log" 2>&1 || { tail -n 20 "$LOG_DIR/apt.log" >&2; fail "apt-get update failed (log: $LOG_DIR/apt.log)"; }
  wanted=$(missing_packages | sort -u | tr '\n' ' ')   # the lists may name other packages now
  # policy-rc.d: a package must not start a daemon here; docker-up.sh does that in one way everywhere
  # shellcheck disable=SC2086
  apt-get install -y -q --no-install-recommends $wanted >>"$LOG_DIR/apt.log" 2>&1 ||
    { tail -n 20 "$LOG_DIR/apt.log" >&2; fail "apt-get install failed (log: $LOG_DIR/apt.log)"; }
}

# The toolchain, its components and the target are pinned in rust-toolchain.toml.
setup_rust() {
  local channel
  channel=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")
  if ! have rustup && [ -z "$CHECK" ] && have apt-cache && apt-cache show rustup >/dev/null 2>&1; then
    step "Installing rustup from the distribution"
    apt-get install -y -q --no-install-recommends rustup >>"$LOG_DIR/apt.log" 2>&1 || true
  fi
  have rustup || fail "rustup is not installed; junioadm builds with Rust $channel and its musl target" \
    "install rustup (https://rustup.rs), put ~/.cargo/bin into PATH, then run this again"
  if rustup run "$channel" rustc --version >/dev/null 2>&1 &&
    rustup target list --installed --toolchain "$channel" 2>/dev/null | grep -qx "$TARGET" &&
    rustup run "$channel" cargo-clippy --version >/dev/null 2>&1 && rustup run "$channel" rustfmt --version >/dev/null 2>&1; then
    note "rust: $channel with $TARGET"
    return
  fi
  [ -z "$CHECK" ] || { note "rust $channel with $TARGET, clippy and rustfmt is missing"; MISSING=1; return; }
  step "Installing Rust $channel"
  rustup toolchain install "$channel" --profile minimal --component clippy --component rustfmt --target "$TARGET" >"$LOG_DIR/rustup.log" 2>&1 ||
    { tail -n 20 "$LOG_DIR/rustup.log" >&2; fail "rustup could not install Rust $channel (log: $LOG_DIR/rustup.log)"; }
}

# The bundle's Go modules name the Go version that they need; a newer point release is fetched by go itself.
setup_go() {
  local wanted found
  wanted=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$ROOT"/bundle/go/*/go.mod 2>/dev/null | sort -V | tail -n 1)
  wanted=${wanted:-1.26}
  if ! have go && [ -x /usr/local/go/bin/go ]; then
    fail "Go is in /usr/local/go/bin, which is not in PATH" "export PATH=/usr/local/go/bin:\$PATH"
  fi
  if ! have go && [ -z "$CHECK" ] && have apt-get; then
    step "Installing Go from the distribution"
    apt-get install -y -q --no-install-recommends golang-go >>"$LOG_DIR/apt.log" 2>&1 || true
  fi
  have go || fail "Go is not installed; the bundle compiles Kubernetes with Go $wanted or newer" "install Go (https://go.dev/dl) and put its bin directory into PATH"
  found=$(cd "$ROOT" && go env GOVERSION)
  found=${found#go}
  if [ "$(printf '%s\n' 1.21 "$found" | sort -V | head -n 1)" != 1.21 ]; then
    fail "Go $found is too old to fetch the Go $wanted that the bundle needs" "install Go $wanted or newer (https://go.dev/dl)"
  fi
  note "go: $found (the bundle needs $wanted)"
}

MISSING=
step "Checking the machine's tools"
install_packages
setup_rust
setup_go
[ -z "$MISSING" ] || exit 1
if [ -z "$CHECK" ]; then "$ROOT/scripts/docker-up.sh"; fi
