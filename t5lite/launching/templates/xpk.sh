#!/usr/bin/env bash
# @NAME@: t5lite train on TPU slices of a GKE cluster, by xpk. Written by `t5lite launch xpk`.
set -euo pipefail

# What every host runs, in base64 because xpk puts the command into YAML as it is. It is restarted on codes from 127
# anyway.
exec xpk workload create --workload=@NAME@ --cluster=@CLUSTER@ --tpu-type=@TPU_TYPE@ --num-slices=@NUM_SLICES@ \
  --docker-image=@IMAGE@ --max-restarts=@MAX_RESTARTS@ --restart-on-exit-codes=@RESTARTED@ \
  --termination-grace-period-seconds=300@FLAGS@ \
  --command="exec bash -c \"\$(echo @HOST@ | base64 --decode)\""
