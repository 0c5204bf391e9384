#!/usr/bin/env bash
# Trains in several processes on this machine, each with its own forced CPU devices: what a pod does, at a desk.
#
#   launch/local.sh NUM_PROCESSES DEVICES_PER_PROCESS [argument of t5lite train ...]
#   launch/local.sh 2 4 --config configs/NAME.py
#
# The processes meet at a free local port (T5LITE_COORDINATOR_PORT chooses one). When one fails, the others are
# stopped and its exit code is returned. Ctrl-C and SIGTERM reach every process once, so that training saves and
# exits; a second one kills.
set -euo pipefail
set -m  # each process is its own group: a Ctrl-C of the terminal arrives only through the trap below, not twice

if (( $# < 2 )) || ! [[ $1 =~ ^[1-9][0-9]*$ && $2 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: launch/local.sh NUM_PROCESSES DEVICES_PER_PROCESS [argument of t5lite train ...]" >&2
  exit 2
fi
num_processes=$1
devices=$2
shift 2

free_port='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
port=${T5LITE_COORDINATOR_PORT:-$(python3 -c "$free_port")}
export JAX_PLATFORMS=cpu
export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$devices"

grace_seconds=20  # for the others after a failure: their collectives wait for the dead one and may never return
declare -A running=()
status=0
interrupts=0
kill_at=

signal_all() {
  local pid
  for pid in "${!running[@]}"; do kill "-$1" "$pid" 2>/dev/null || true; done
}
# shellcheck disable=SC2329  # the trap calls it
on_interrupt() {
  interrupts=$((interrupts + 1))
  if (( interrupts == 1 )); then
    echo "launch/local.sh: stopping ${#running[@]} processes; again to kill them" >&2
    signal_all TERM
  else
    signal_all KILL
  fi
}
trap on_interrupt INT TERM HUP

for (( id = 0; id < num_processes; id++ )); do
  t5lite train --coordinator-address "127.0.0.1:$port" --num-processes "$num_processes" --process-id "$id" "$@" \
    </dev/null &
  running[$!]=$id
done

while (( ${#running[@]} )); do
  for pid in "${!running[@]}"; do
    kill -0 "$pid" 2>/dev/null && continue
    code=0
    wait "$pid" || code=$?
    id=${running[$pid]}
    unset "running[$pid]"
    if (( code != 0 && status == 0 )); then
      status=$code
      if (( interrupts == 0 && ${#running[@]} )); then
        echo "launch/local.sh: process $id failed with exit code $code; stopping the others" >&2
        signal_all TERM
        kill_at=$((SECONDS + grace_seconds))
      fi
    fi
  done
  if [[ -n $kill_at ]] && (( SECONDS >= kill_at )); then signal_all KILL; fi
  sleep 0.2 || true  # a Ctrl-C can hit it before it is in a process group of its own
done
exit "$status"
