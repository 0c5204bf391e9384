#!/usr/bin/env bash
# Asks for a Cloud TPU slice as a queued resource; when it comes, every host installs t5lite and trains.
#
#   launch/tpu_queued_resource.sh [--dry-run] NAME [flag of gcloud ...] -- [argument of t5lite train ...]
#
#   T5LITE_PACKAGE='t5lite[tpu] @ git+https://HOST/t5lite@COMMIT' T5LITE_NFS=10.0.0.2:/share \
#     launch/tpu_queued_resource.sh my-run --zone=us-west4-a --accelerator-type=v5litepod-16 \
#     --runtime-version=v2-alpha-tpuv5-lite --spot -- --config /shared/NAME.py
#
# T5LITE_PACKAGE   what pip installs on every host
# T5LITE_NFS       an NFS export (Filestore), mounted at /shared on every host: recipe, token store, run directory
#
# The flags after NAME go to `gcloud compute tpus queued-resources create` as they are (--project, --reserved,
# --network …; --node-count=K for K slices). After a preemption the queued resource is SUSPENDED: delete it as printed
# and run the same command again; training resumes from the run directory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() { echo "launch/tpu_queued_resource.sh: $1" >&2; exit 2; }

dry_run=
if [[ ${1:-} == --dry-run ]]; then dry_run=1; shift; fi
name=${1:-}
[[ $name =~ ^[a-z]([a-z0-9-]*[a-z0-9])?$ ]] || fail "NAME='$name' must be lower-case letters, digits and dashes"
shift
[[ -n ${T5LITE_PACKAGE:-} ]] || fail "set T5LITE_PACKAGE to what pip installs on every host, e.g. 't5lite[tpu]'"
[[ -n ${T5LITE_NFS:-} ]] || fail "set T5LITE_NFS to an NFS export, e.g. 10.0.0.2:/share"

flags=()
node=(--node-id="$name")
zone=
while (( $# )) && [[ $1 != -- ]]; do
  case $1 in
    --zone=*) zone=$1 ;;
    --node-count=*) node=(--node-prefix="$name") ;;
    --metadata-from-file*) fail "--metadata-from-file is how this script hands the start-up script over" ;;
    --*=* | --spot | --reserved | --guaranteed | --internal-ips | --async | --shielded-secure-boot | --quiet) ;;
    *) fail "write gcloud's flags as --flag=value, not '$1'" ;;
  esac
  flags+=("$1")
  shift
done
[[ -n $zone ]] || fail "--zone=ZONE is missing"
(( $# > 1 )) || fail "nothing to train: end with -- --config PATH"
shift

# Files, not --metadata=KEY=VALUE: gcloud splits those at commas. One argument a line survives any quoting.
metadata=$(mktemp -d)
trap 'rm -rf "$metadata"' EXIT
printf '%s' "$T5LITE_PACKAGE" >"$metadata/package"
printf '%s' "$T5LITE_NFS" >"$metadata/nfs"
printf '%s\n' "$@" >"$metadata/arguments"
files="startup-script=$here/tpu_startup.sh,t5lite-package=$metadata/package,t5lite-nfs=$metadata/nfs"
files+=",t5lite-arguments=$metadata/arguments"

command=(gcloud compute tpus queued-resources create "$name" "${node[@]}" "${flags[@]}" --metadata-from-file="$files")
if [[ -n $dry_run ]]; then
  printf '%q ' "${command[@]}"
  printf '\n# t5lite-%s\n%s\n' package "$T5LITE_PACKAGE" nfs "$T5LITE_NFS" arguments "$(cat "$metadata/arguments")"
  exit 0
fi

"${command[@]}"
cat <<EOT
state:   gcloud compute tpus queued-resources describe $name $zone
log:     gcloud compute tpus tpu-vm ssh $name $zone --worker=0 --command='journalctl --unit t5lite --follow'
delete:  gcloud compute tpus queued-resources delete $name $zone --force
EOT
