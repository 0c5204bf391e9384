#!/usr/bin/env bash
# Start-up script of one TPU host, run as root at every boot: install t5lite once, train.
set -euo pipefail

# uv brings a Python of its own: the TPU images have 3.10, t5lite needs 3.11.
if [[ ! -x /opt/t5lite/bin/t5lite ]]; then
  python3 -m pip install --quiet uv
  python3 -m uv venv --clear --python 3.11 /opt/t5lite
  python3 -m uv pip install --python /opt/t5lite/bin/python @PACKAGE@
fi

cat >/opt/t5lite/config.json <<'T5LITE_CONFIG'
@CONFIG@
T5LITE_CONFIG

# A script of its own: systemd expands $ and % in the words of a command.
cat >/opt/t5lite/train <<'T5LITE_TRAIN'
#!/usr/bin/env bash
export T5LITE_JOB=@NAME@  # the same after a preemption
exec /opt/t5lite/bin/t5lite train --config /opt/t5lite/config.json@ARGUMENTS@
T5LITE_TRAIN
chmod +x /opt/t5lite/train

# A unit, because systemd stops it with SIGTERM before the network goes when the host is preempted (about 30 s on
# Spot), and starts it again unless its exit code says that this is of no use.
cat >/etc/systemd/system/t5lite.service <<'T5LITE_UNIT'
@UNIT@
T5LITE_UNIT
systemctl daemon-reload
systemctl restart --no-block t5lite
