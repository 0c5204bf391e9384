#!/usr/bin/env bash
# @NAME@: t5lite train on several hosts by ssh, one process a host. When one fails, the others are stopped; what may
# be mended by another start is started again. Ctrl-C and SIGTERM reach every process once, so that training saves and
# exits; a second one kills. Should this script or a connection die, the process saves and exits, too. Written by
# `t5lite launch ssh`.
set -euo pipefail
set -m  # each ssh is its own group: a Ctrl-C of the terminal arrives only through the trap below

hosts=(@HOSTS@)
num_processes=${#hosts[@]}
flags=(@FLAGS@)

# By it a process that is started again knows that the run's directory is still held by its predecessor.
T5LITE_JOB=@NAME@-$(date +%s)-$$

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
declare -A pipes=()

# What each host runs: it reads the configuration from its first line of input, trains, and passes on the signals that
# the further lines name. The end of the input means that nobody is there any more.
# shellcheck disable=SC2016  # the host expands it
host=@HOST@
config=$(cat <<'T5LITE_CONFIG'
@CONFIG@
T5LITE_CONFIG
)

# start ID: in the background
start() {
  local pipe each
  rm -f "$scratch/$1"
  mkfifo "$scratch/$1"
  exec {pipe}<>"$scratch/$1"
  each=${pipes[$1]:-}
  if [[ -n $each ]]; then exec {each}>&-; fi  # of an earlier start
  pipes[$1]=$pipe
  (
    exec <"$scratch/$1"
    for each in "${pipes[@]}"; do exec {each}>&-; done  # or no host would see this script end
    exec ssh -o BatchMode=yes -o ServerAliveInterval=15 "${flags[@]}" -- "${hosts[$1]}" "$host $T5LITE_JOB $1"
  ) &
  printf '%s\n' "$config" >&"$pipe"
}

# tell PID ID SIGNAL
tell() {
  echo "$3" >&"${pipes[$2]}"
  if [[ $3 == KILL ]]; then kill -s KILL "$1" 2>/dev/null || true; fi
}

@SUPERVISOR@
