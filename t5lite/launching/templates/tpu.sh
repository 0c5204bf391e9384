#!/usr/bin/env bash
# @NAME@: asks for TPU slices as a queued resource; when they come, every host installs t5lite and trains. Run it again
# after a preemption: what is left of a suspended or failed resource is deleted, and training resumes from the run
# directory. Written by `t5lite launch tpu`; needs gcloud.
set -euo pipefail

name=@NAME@
place=(@PLACE@)

state=$(gcloud compute tpus queued-resources describe "$name" "${place[@]}" --format='value(state.state)' 2>/dev/null) ||
  state=
case $state in
  '') ;;
  SUSPENDED | FAILED)
    echo "t5lite launch: $name is $state; deleting it to ask anew" >&2
    gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force --quiet
    ;;
  *)
    echo "t5lite launch: $name is there already ($state); give another --name, or delete it" >&2
    exit 2
    ;;
esac

metadata=$(mktemp -d)
trap 'rm -rf "$metadata"' EXIT
cat >"$metadata/startup-script" <<'T5LITE_STARTUP'
@STARTUP@
T5LITE_STARTUP

gcloud compute tpus queued-resources create "$name" "${place[@]}" @NODES@ \
  --accelerator-type=@ACCELERATOR_TYPE@ --runtime-version=@RUNTIME_VERSION@@FLAGS@ \
  --metadata-from-file="startup-script=$metadata/startup-script"
cat <<EOT
state:   gcloud compute tpus queued-resources describe $name ${place[*]}
log:     gcloud compute tpus tpu-vm ssh @FIRST_NODE@ ${place[*]} --worker=0 --command='journalctl --unit t5lite --follow'
delete:  gcloud compute tpus queued-resources delete $name ${place[*]} --force
EOT
