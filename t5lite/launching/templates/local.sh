#!/usr/bin/env bash
# @NAME@: t5lite train in several processes on this machine, each with its own forced CPU devices. When one fails,
# the others are stopped. Ctrl-C and SIGTERM reach every process once, so that training saves and exits; a second one
# kills. Written by `t5lite launch local`.
set -euo pipefail
set -m  # each process is its own group: a Ctrl-C of the terminal arrives only through the trap below, not twice

num_processes=@NUM_PROCESSES@
# By it a process that is started again knows that the run's directory is still held by its predecessor.
T5LITE_JOB=@NAME@-$(date +%s)-$$
export T5LITE_JOB
export JAX_PLATFORMS=cpu
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=@DEVICES@"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
config=$scratch/config.json
cat >"$config" <<'T5LITE_CONFIG'
@CONFIG@
T5LITE_CONFIG

free_port='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'

# start ID: in the background. The processes meet at a port that process 0 finds free.
start() {
  if (( $1 == 0 )); then port=$(@PYTHON@ -c "$free_port"); fi
  @PYTHON@ -m t5lite.cli.main train --coordinator-address "127.0.0.1:$port" --num-processes "$num_processes" \
    --process-id "$1" --config "$config"@ARGUMENTS@ </dev/null &
}

# tell PID ID SIGNAL
tell() { kill -s "$3" "$1" 2>/dev/null || true; }

@SUPERVISOR@
