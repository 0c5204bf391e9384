#!/usr/bin/env bash
# Start-up script of one TPU host, run as root at every boot: install, mount the shared directory, train.
# launch/tpu_queued_resource.sh hands it over, with its three settings, through instance metadata.
set -euo pipefail

setting() {
  curl --fail --silent --show-error --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/t5lite-$1"
}
package=$(setting package)
nfs=$(setting nfs)
mapfile -t arguments < <(setting arguments)

if ! mountpoint --quiet /shared; then
  apt-get update -qq
  apt-get install -qq -y nfs-common
  mkdir -p /shared
  mount -t nfs -o hard,noatime "$nfs" /shared
fi

# uv brings a Python of its own: the TPU images have 3.10, t5lite needs 3.11.
if [[ ! -x /opt/t5lite/bin/t5lite ]]; then
  python3 -m pip install --quiet uv
  python3 -m uv venv --clear --python 3.11 /opt/t5lite
  python3 -m uv pip install --python /opt/t5lite/bin/python "$package"
fi

# A unit of its own, because systemd stops it with SIGTERM before the network goes when the host is preempted (about
# 30 s on Spot), and starts it again after a crash: the run resumes from its last checkpoint. Exit code 2 is an error
# in what the user gave, which a restart cannot mend.
systemd-run --unit=t5lite --description='t5lite train' \
  --property=After=network-online.target --property=RequiresMountsFor=/shared \
  --property=KillMode=mixed --property=TimeoutStopSec=60 \
  --property=Restart=on-failure --property=RestartSec=15 --property=RestartPreventExitStatus=2 \
  /opt/t5lite/bin/t5lite train "${arguments[@]}"
