#!/usr/bin/env bash
# Fills launch/gke_jobset.yaml from the environment and prints it.
#
#   NAME=my-run IMAGE=REGION-docker.pkg.dev/PROJECT/REPOSITORY/t5lite:TAG VOLUME_CLAIM=shared \
#   TPU_ACCELERATOR=tpu-v5-lite-podslice TPU_TOPOLOGY=4x4 HOSTS_PER_SLICE=4 CHIPS_PER_HOST=4 NUM_SLICES=1 \
#     launch/gke_jobset.sh --config /shared/NAME.py | kubectl apply -f -
#
# NAME, IMAGE, VOLUME_CLAIM     the run, a container with t5lite[tpu], a ReadWriteMany claim mounted at /shared
# TPU_ACCELERATOR, TPU_TOPOLOGY the node labels gke-tpu-accelerator and gke-tpu-topology
# HOSTS_PER_SLICE, CHIPS_PER_HOST, NUM_SLICES   their product is the number of chips; topology = hosts x chips
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() { echo "launch/gke_jobset.sh: $1" >&2; exit 2; }

# json_array ARGUMENT…: a JSON list is a YAML list, whatever the arguments contain.
json_array() { python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@"; }

word='^[A-Za-z0-9][A-Za-z0-9._/:@-]*$'
number='^[1-9][0-9]*$'
dns='^[a-z]([a-z0-9-]*[a-z0-9])?$'
declare -A allowed=(
  [NAME]=$dns [IMAGE]=$word [VOLUME_CLAIM]=$dns [TPU_ACCELERATOR]=$dns [TPU_TOPOLOGY]='^[0-9]+x[0-9]+(x[0-9]+)?$'
  [HOSTS_PER_SLICE]=$number [CHIPS_PER_HOST]=$number [NUM_SLICES]=$number
)

(( $# )) || fail "nothing to train: pass the arguments of t5lite train, e.g. --config /shared/NAME.py"
missing=()
for variable in "${!allowed[@]}"; do
  value=${!variable:-}
  if [[ -z $value ]]; then
    missing+=("$variable")
  elif ! [[ $value =~ ${allowed[$variable]} ]]; then
    fail "$variable='$value' does not match ${allowed[$variable]}"
  fi
done
(( ${#missing[@]} == 0 )) || fail "not set: $(printf '%s\n' "${missing[@]}" | sort | paste -s -d ' ')"

topology=1
for side in ${TPU_TOPOLOGY//x/ }; do topology=$((topology * side)); done
(( topology == HOSTS_PER_SLICE * CHIPS_PER_HOST )) || fail "TPU_TOPOLOGY=$TPU_TOPOLOGY has $topology chips, \
but HOSTS_PER_SLICE=$HOSTS_PER_SLICE x CHIPS_PER_HOST=$CHIPS_PER_HOST is $((HOSTS_PER_SLICE * CHIPS_PER_HOST))"

manifest=$(tail -n +2 "$here/gke_jobset.yaml")  # without the line that speaks of the template
for variable in "${!allowed[@]}"; do
  manifest=${manifest//"\${$variable}"/"${!variable}"}
done
arguments=$(json_array "$@")
printf '%s\n' "${manifest//"\${ARGUMENTS}"/"$arguments"}"  # last: an argument may itself contain ${NAME}
