#!/usr/bin/env bash
# Makes the machine's own Docker Engine answer. Safe to run again: an engine that answers is left alone.
# With systemd the unit is started; without, dockerd runs detached with a pid file and a log, and outlives this script.
source "$(dirname "$0")/common.sh"

DEADLINE=60   # seconds until the engine must answer
DOCKERD_LOG=$LOG_DIR/dockerd.log
DOCKERD_PID=${DOCKERD_PID:-/run/docker.pid}

answers() { docker info >/dev/null 2>&1; }
running() { [ -s "$DOCKERD_PID" ] && [ -d "/proc/$(cat "$DOCKERD_PID")" ]; }

if answers; then
  note "docker: $(docker version --format '{{.Server.Version}}') answers"
  exit 0
fi
need_root
have dockerd || fail "Docker Engine is not installed" "scripts/setup.sh"

if [ -d /run/systemd/system ]; then
  step "Starting Docker Engine (systemd)"
  systemctl start docker.service || fail "docker.service did not start" "journalctl -u docker.service -n 50"
else
  # A pid file without its process keeps dockerd from starting.
  running || rm -f "$DOCKERD_PID"
  if running; then
    note "dockerd (pid $(cat "$DOCKERD_PID")) is starting already"
  else
    step "Starting Docker Engine (log: $DOCKERD_LOG)"
    # Only one caller starts it; dockerd itself must not hold the lock (9>&-).
    exec 9>"$LOG_DIR/dockerd.lock"
    flock 9
    if ! answers && ! running; then
      setsid dockerd --pidfile "$DOCKERD_PID" >"$DOCKERD_LOG" 2>&1 </dev/null 9>&- &
      STARTED=$!
    fi
    exec 9>&-
  fi
fi

for ((tenth = 0; tenth < DEADLINE * 10; tenth++)); do
  if answers; then
    note "docker: $(docker version --format '{{.Server.Version}}') answers"
    exit 0
  fi
  if [ -n "${STARTED:-}" ] && ! kill -0 "$STARTED" 2>/dev/null && ! running; then
    tail -n 20 "$DOCKERD_LOG" >&2
    fail "dockerd ended while starting (log: $DOCKERD_LOG)"
  fi
  sleep 0.1
  # The daemon that was found was on its way out: once it is gone, one is started as if none had been there.
  if [ -z "${STARTED:-}" ] && [ ! -d /run/systemd/system ] && ! answers && ! running; then exec "$0" "$@"; fi
done
[ ! -s "$DOCKERD_LOG" ] || tail -n 20 "$DOCKERD_LOG" >&2
fail "Docker Engine did not answer within $DEADLINE s"
