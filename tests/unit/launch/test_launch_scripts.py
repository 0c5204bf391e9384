"""The launchers, run against stand-ins for the commands that they call."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).parents[3] / "launch"
SCRIPTS = sorted(path for path in LAUNCH.iterdir() if path.suffix in {".sh", ".sbatch"})


@pytest.fixture
def bin_directory(tmp_path, monkeypatch):
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    return directory


def command(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [LAUNCH / script, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def record(tmp_path: Path) -> list[str]:
    path = tmp_path / "record"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_parses_and_stops_at_the_first_error(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert "set -euo pipefail" in script.read_text().splitlines()


def test_the_launchers_are_executable():
    assert [path.name for path in SCRIPTS if path.suffix == ".sh" and not os.access(path, os.X_OK)] == []


# local.sh

SHOW = 'printf "%s|%s|%s\\n" "$XLA_FLAGS" "$JAX_PLATFORMS" "$*" >>"$RECORD"'


def test_local_starts_every_process_with_the_same_coordinator(bin_directory, tmp_path):
    command(bin_directory, "t5lite", SHOW)
    done = run(
        "local.sh", "3", "4", "--config", "a b.py", T5LITE_COORDINATOR_PORT="4711", XLA_FLAGS="--given"
    )
    assert done.returncode == 0, done.stderr
    expected = [
        "--given --xla_force_host_platform_device_count=4|cpu|train --coordinator-address 127.0.0.1:4711 "
        f"--num-processes 3 --process-id {index} --config a b.py"
        for index in range(3)
    ]
    assert sorted(record(tmp_path)) == expected


def test_local_stops_the_others_when_one_fails(bin_directory, tmp_path):
    command(
        bin_directory,
        "t5lite",
        'case "$*" in *"--process-id 1"*) sleep 0.5; exit 3 ;; esac\n'
        "trap 'echo stopped >>\"$RECORD\"; exit 143' TERM\n"
        "for _ in {1..300}; do sleep 0.1; done",
    )
    started = time.monotonic()
    done = run("local.sh", "3", "1")
    assert done.returncode == 3
    assert "process 1 failed with exit code 3" in done.stderr
    assert record(tmp_path) == ["stopped", "stopped"]
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_local_passes_a_stop_request_on_once(bin_directory, tmp_path, number):
    command(
        bin_directory,
        "t5lite",
        'stops=0\ntrap \'stops=$((stops + 1)); echo "stop $stops" >>"$RECORD"\' TERM INT\n'
        'echo ready >>"$RECORD"\n'
        "for _ in {1..300}; do sleep 0.1; ((stops)) && sleep 0.5 && exit 143; done",
    )
    launcher = subprocess.Popen(
        [LAUNCH / "local.sh", "2", "1"], stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 30
        while record(tmp_path).count("ready") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(launcher.pid, number)  # what a terminal does at Ctrl-C
        launcher.communicate(timeout=30)
    finally:
        launcher.kill()
    assert launcher.returncode == 143
    assert sorted(record(tmp_path)) == ["ready", "ready", "stop 1", "stop 1"]


@pytest.mark.parametrize("arguments", [(), ("2",), ("0", "4"), ("two", "4"), ("2", "-1")])
def test_local_says_how_it_is_used(arguments):
    done = run("local.sh", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: launch/local.sh NUM_PROCESSES DEVICES_PER_PROCESS")


# gke_jobset.sh

GKE = {
    "NAME": "my-run",
    "IMAGE": "europe-docker.pkg.dev/project/repository/t5lite:1.0",
    "VOLUME_CLAIM": "shared",
    "TPU_ACCELERATOR": "tpu-v5-lite-podslice",
    "TPU_TOPOLOGY": "4x8",
    "HOSTS_PER_SLICE": "8",
    "CHIPS_PER_HOST": "4",
    "NUM_SLICES": "2",
}


def test_gke_fills_a_valid_jobset():
    arguments = ["--config", "/shared/a: 'b' \"c\" & ${NAME}.py", "--training.total-steps", "10"]
    done = run("gke_jobset.sh", *arguments, **GKE)
    assert done.returncode == 0, done.stderr
    jobset = yaml.safe_load(done.stdout)
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobset["metadata"]["name"] == "my-run"
    (slices,) = jobset["spec"]["replicatedJobs"]
    job = slices["template"]["spec"]
    assert (slices["replicas"], job["completions"], job["parallelism"]) == (2, 8, 8)
    assert job["completionMode"] == "Indexed"
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x8",
    }
    (container,) = pod["containers"]
    assert container["image"] == GKE["IMAGE"]
    assert container["args"] == arguments
    assert container["resources"] == {"requests": {"google.com/tpu": 4}, "limits": {"google.com/tpu": 4}}
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "shared"}
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["onExitCodes"]["containerName"], rule["onExitCodes"]["values"]) == (container["name"], [2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"IMAGE": "", "NAME": ""}, "not set: IMAGE NAME"),
        ({"NAME": "My_Run"}, "NAME='My_Run' does not match"),
        ({"NUM_SLICES": "0"}, "NUM_SLICES='0' does not match"),
        ({"IMAGE": "x\nhostPID: true"}, "does not match"),
        (
            {"HOSTS_PER_SLICE": "4"},
            "has 32 chips, but HOSTS_PER_SLICE=4 x CHIPS_PER_HOST=4 is 16",
        ),
    ],
)
def test_gke_refuses_what_cannot_be_scheduled(change, message):
    done = run("gke_jobset.sh", "--config", "x.py", **{**GKE, **change})
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


# tpu_queued_resource.sh and tpu_startup.sh

TPU_FLAGS = (
    "my-run",
    "--zone=us-west4-a",
    "--accelerator-type=v5litepod-16",
    "--runtime-version=v2-alpha-tpuv5-lite",
)
TPU = {"T5LITE_PACKAGE": "t5lite[tpu]>=0.1,<0.2", "T5LITE_NFS": "10.0.0.2:/share"}
TRAIN = ("--config", "/shared/a b,c.py")
GCLOUD = """
for argument in "$@"; do
  case $argument in
    --metadata-from-file=*)
      IFS=, read -ra files <<<"${argument#*=}"
      for file in "${files[@]}"; do
        cp "${file#*=}" "$(dirname "$RECORD")/${file%%=*}"
        echo "${file%%=*}" >>"$RECORD"
      done ;;
    *) echo "$argument" >>"$RECORD" ;;
  esac
done"""


def test_tpu_requests_the_slice_and_hands_its_settings_over(bin_directory, tmp_path):
    command(bin_directory, "gcloud", GCLOUD)
    done = run("tpu_queued_resource.sh", *TPU_FLAGS, "--spot", "--", *TRAIN, **TPU)
    assert done.returncode == 0, done.stderr
    assert record(tmp_path) == [
        *("compute", "tpus", "queued-resources", "create", "my-run", "--node-id=my-run"),
        *TPU_FLAGS[1:],
        "--spot",
        *("startup-script", "t5lite-package", "t5lite-nfs", "t5lite-arguments"),
    ]
    assert (tmp_path / "startup-script").read_text() == (LAUNCH / "tpu_startup.sh").read_text()
    assert (tmp_path / "t5lite-package").read_text() == TPU["T5LITE_PACKAGE"]
    assert (tmp_path / "t5lite-nfs").read_text() == TPU["T5LITE_NFS"]
    assert (tmp_path / "t5lite-arguments").read_text().splitlines() == list(TRAIN)
    assert "queued-resources delete my-run --zone=us-west4-a --force" in done.stdout


def test_tpu_dry_run_prints_and_does_nothing(bin_directory, tmp_path):
    command(bin_directory, "gcloud", GCLOUD)
    done = run("tpu_queued_resource.sh", "--dry-run", *TPU_FLAGS, "--node-count=2", "--", *TRAIN, **TPU)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gcloud compute tpus queued-resources create my-run --node-prefix=my-run ")
    assert "/shared/a b,c.py" in done.stdout
    assert record(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("My Run",), TPU, "NAME='My Run' must be"),
        ((*TPU_FLAGS, "--", *TRAIN), {**TPU, "T5LITE_NFS": ""}, "set T5LITE_NFS"),
        ((*TPU_FLAGS, "--", *TRAIN), {**TPU, "T5LITE_PACKAGE": ""}, "set T5LITE_PACKAGE"),
        (("my-run", "--spot", "--", *TRAIN), TPU, "--zone=ZONE is missing"),
        (("my-run", "--zone", "us-west4-a", "--", *TRAIN), TPU, "--flag=value, not '--zone'"),
        ((*TPU_FLAGS, "--metadata-from-file=x=y", "--", *TRAIN), TPU, "--metadata-from-file is how"),
        (TPU_FLAGS, TPU, "nothing to train"),
    ],
)
def test_tpu_refuses_an_incomplete_request(bin_directory, tmp_path, arguments, environment, message):
    command(bin_directory, "gcloud", GCLOUD)
    done = run("tpu_queued_resource.sh", *arguments, **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert record(tmp_path) == []


def test_tpu_host_installs_mounts_and_trains_in_a_unit(bin_directory, tmp_path):
    command(
        bin_directory,
        "curl",
        'case "${!#}" in\n'
        "  */t5lite-package) printf '%s' 't5lite[tpu]>=0.1,<0.2' ;;\n"
        "  */t5lite-nfs) printf '%s' 10.0.0.2:/share ;;\n"
        "  */t5lite-arguments) printf '%s\\n' --config '/shared/a b,c.py' ;;\nesac",
    )
    for name in ("apt-get", "mkdir", "mount", "python3", "systemd-run"):
        command(bin_directory, name, f'printf \'[%s]\' {name} "$@" >>"$RECORD"; echo >>"$RECORD"')
    command(bin_directory, "mountpoint", "exit 1")
    done = run("tpu_startup.sh")
    assert done.returncode == 0, done.stderr
    lines = record(tmp_path)
    assert "[mount][-t][nfs][-o][hard,noatime][10.0.0.2:/share][/shared]" in lines
    assert lines[-2].endswith("[t5lite[tpu]>=0.1,<0.2]")
    assert lines[-1].startswith("[systemd-run][--unit=t5lite]")
    assert lines[-1].endswith("[/opt/t5lite/bin/t5lite][train][--config][/shared/a b,c.py]")


# slurm.sbatch


def test_slurm_runs_one_step_and_returns_its_exit_code(bin_directory, tmp_path):
    command(bin_directory, "srun", 'printf "%s\\n" "$@" >>"$RECORD"; exit 143')
    command(bin_directory, "scontrol", 'printf "%s\\n" "scontrol $*" >>"$RECORD"')
    done = run_slurm("--config", "a b.py")
    assert done.wait(timeout=60) == 143  # cancelled by hand: saved, and not put back into the queue
    assert record(tmp_path) == ["--kill-on-bad-exit=1", "t5lite", "train", "--config", "a b.py"]


@pytest.mark.parametrize(("code", "requeued"), [(143, True), (0, False), (1, False)])
def test_slurm_requeues_a_run_that_saved_at_the_time_limit(bin_directory, tmp_path, code, requeued):
    command(
        bin_directory,
        "srun",
        f'trap "exit {code}" TERM\necho $$ >"$RECORD.pid"\nfor _ in {{1..300}}; do sleep 0.1; done',
    )
    command(bin_directory, "scancel", 'echo "scancel $*" >>"$RECORD"; kill -TERM "$(cat "$RECORD.pid")"')
    command(bin_directory, "scontrol", 'echo "scontrol $*" >>"$RECORD"')
    job = run_slurm("--config", "x.py")
    deadline = time.monotonic() + 30
    while not (tmp_path / "record.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=60) == code
    assert record(tmp_path) == ["scancel --signal=TERM 17"] + ["scontrol requeue 17"] * requeued


def run_slurm(*arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "SLURM_JOB_ID": "17"}
    return subprocess.Popen(["bash", LAUNCH / "slurm.sbatch", *arguments], env=environment)


def test_slurm_options_precede_the_first_command():
    """Slurm stops reading ``#SBATCH`` lines at the first line that is no comment."""
    lines = (LAUNCH / "slurm.sbatch").read_text().splitlines()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    options = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert options
    assert max(options) < first_command
