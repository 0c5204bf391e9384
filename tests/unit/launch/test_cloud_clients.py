"""gcloud, xpk and a TPU host, by recording stand-ins; the JobSet by the schema of its own definition."""

import json
import lzma
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.launch_jobs import make_job, platform

SCHEMA = Path(__file__).parent / "jobset_schema.json.xz"
"""``spec.versions[0].schema.openAPIV3Schema`` of config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml of
github.com/kubernetes-sigs/jobset at 08dfbdfd6827 (Apache 2.0), without descriptions and CEL rules."""
GCLOUD = """
printf '%s\\n' "$*" >>"$RECORD"
for argument in "$@"; do
  case $argument in
    --metadata-from-file=startup-script=*) cp "${argument##*=}" "$(dirname "$RECORD")/startup" ;;
    describe) printf '%s\\n' "$STATE"; [[ -n $STATE ]] || exit 1 ;;
  esac
done"""
TPU = [
    "--chips",
    "v5e-16",
    "--zone",
    "us-west4-a",
    "--package",
    "t5lite[tpu,gcs] @ git+https://h/t5lite@c0ffee",
]
PLACE = "--zone=us-west4-a"
RESOURCES = "compute tpus queued-resources"


def test_tpu_asks_for_the_slice(programs):
    programs.add("gcloud", GCLOUD)
    text = platform("tpu", *TPU, "--spot", "--project", "a.example:project-1").render(
        make_job(flags=("--labels=a=b",))
    )
    done = programs.run(text, STATE="")
    assert done.returncode == 0, done.stderr
    place = f"{PLACE} --project=a.example:project-1"
    described, created = programs.record
    assert described == f"{RESOURCES} describe my-run {place} --format=value(state.state)"
    assert re.sub(r"=/\S+/startup-script$", "=FILE", created) == (
        f"{RESOURCES} create my-run {place} --node-id=my-run --accelerator-type=v5litepod-16 "
        "--runtime-version=v2-alpha-tpuv5-lite --spot --labels=a=b --metadata-from-file=startup-script=FILE"
    )
    assert f"delete:  gcloud {RESOURCES} delete my-run {place} --force" in done.stdout


def test_tpu_asks_for_several_slices(programs):
    programs.add("gcloud", GCLOUD)
    done = programs.run(platform("tpu", *TPU, "--num-slices", "2").render(make_job()), STATE="")
    assert "--node-count=2 --node-prefix=my-run" in programs.record[-1]
    assert "tpu-vm ssh my-run-0 " in done.stdout


@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED"])
def test_tpu_replaces_what_a_preemption_left(programs, state):
    programs.add("gcloud", GCLOUD)
    done = programs.run(platform("tpu", *TPU).render(make_job()), STATE=state)
    assert done.returncode == 0, done.stderr
    assert [line.split()[3] for line in programs.record] == ["describe", "delete", "create"]
    assert programs.record[1] == f"{RESOURCES} delete my-run {PLACE} --force --quiet"


@pytest.mark.parametrize("state", ["ACTIVE", "WAITING_FOR_RESOURCES", "PROVISIONING"])
def test_tpu_leaves_alone_what_is_there(programs, state):
    programs.add("gcloud", GCLOUD)
    done = programs.run(platform("tpu", *TPU).render(make_job()), STATE=state)
    assert done.returncode == 2
    assert f"my-run is there already ({state})" in done.stderr
    assert len(programs.record) == 1


def test_tpu_does_not_say_that_it_asked_when_the_client_refused(programs):
    programs.add("gcloud", GCLOUD + '\n[[ $* != *" create "* ]] || exit 7')
    done = programs.run(platform("tpu", *TPU).render(make_job()), STATE="")
    assert (done.returncode, done.stdout) == (7, "")


def test_tpu_host_installs_writes_and_trains_in_a_unit(programs, tmp_path):
    programs.add("gcloud", GCLOUD)
    programs.run(platform("tpu", *TPU).render(make_job(train_arguments=("$HOME %n", "'"))), STATE="")
    root = tmp_path / "root"
    (root / "opt" / "t5lite").mkdir(parents=True)
    (root / "etc" / "systemd" / "system").mkdir(parents=True)
    for name in ("python3", "systemctl"):
        programs.add(name, f'printf \'[%s]\' {name} "$@" >>"$RECORD"; echo >>"$RECORD"')
    startup = (tmp_path / "startup").read_text()
    done = programs.run(re.sub(r"(?<![\w.])/(opt|etc)/", rf"{root}/\1/", startup))
    assert done.returncode == 0, done.stderr
    installed, reloaded, restarted = programs.record[-3:]
    assert installed.endswith("[t5lite[tpu,gcs] @ git+https://h/t5lite@c0ffee]")
    assert (reloaded, restarted) == ("[systemctl][daemon-reload]", "[systemctl][restart][--no-block][t5lite]")
    assert json.loads((root / "opt/t5lite/config.json").read_text())["run_dir"] == "gs://bucket/a b'c\"d"
    trainer = root / "opt/t5lite/bin/t5lite"
    trainer.parent.mkdir()
    trainer.write_text('#!/bin/sh\nprintf "[%s]" "$@"\n')
    trainer.chmod(0o755)
    trained = subprocess.run([root / "opt/t5lite/train"], capture_output=True, text=True, check=True).stdout
    assert trained == f"[train][--config][{root}/opt/t5lite/config.json][$HOME %n][']"
    unit = (root / "etc/systemd/system/t5lite.service").read_text()
    assert "RestartPreventExitStatus=2 3 4 130\n" in unit
    assert "StartLimitBurst=4\n" in unit


def test_xpk_makes_the_workload(programs, tmp_path):
    programs.add("xpk", 'printf "%s\\n" "$@" >>"$RECORD"')
    options = ["--chips", "v6e-16", "--image", "gcr.io/p/t5lite:1", "--cluster", "pods"]
    text = platform("xpk", *options).render(
        make_job(flags=("--zone=us-west4-a",), train_arguments=("a b", "'"))
    )
    done = programs.run(text)
    assert done.returncode == 0, done.stderr
    *words, command = programs.record
    assert words == [
        *("workload", "create", "--workload=my-run", "--cluster=pods", "--tpu-type=v6e-16", "--num-slices=1"),
        *("--docker-image=gcr.io/p/t5lite:1", "--max-restarts=3", "--restart-on-exit-codes=1,75,76"),
        *("--termination-grace-period-seconds=300", "--zone=us-west4-a"),
    ]
    assert re.fullmatch(r'--command=[\w $"()=+/|-]+', command)  # it comes to stand in YAML as it is
    programs.add("t5lite", 'printf "[%s]" "$@"; grep -c gs://bucket "$3"')
    ran = programs.run(f"({command.removeprefix('--command=')})", TMPDIR=str(tmp_path))
    assert ran.stdout == f"[train][--config][{tmp_path}/t5lite.json][a b][']1\n"


def strict(schema: Any) -> Any:
    """Return a schema that refuses unknown fields, as the API server's strict validation does."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(value) for name, value in schema.items()}
    if closed.get("type") == "object" and isinstance(closed.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


@pytest.fixture(scope="module")
def jobset_definition() -> jsonschema.Draft202012Validator:
    schema = strict(json.loads(lzma.decompress(SCHEMA.read_bytes())))
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


GKE = ["--chips", "v5e-32", "--num-slices", "2", "--image", "europe-docker.pkg.dev/p/r/t5lite:1.0"]


def manifest(*options: str, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    config, jobset = yaml.safe_load_all(platform("gke", *options).render(make_job(**changes)))
    return config, jobset


@pytest.mark.parametrize(
    "chips", ["v5e-1", "v5e-4", "v5e-8", "v5e-256", "v4:2x2x1", "v5p:4x4x8", "v6e-16", "tpu7x-128"]
)
def test_the_jobset_is_valid_by_its_definition(jobset_definition, chips):
    options = ["--chips", chips, "--image", "Host.example:5000/a__b/c-d:V_1.0@sha256:" + "0" * 64, "--spot"]
    _, jobset = manifest(*options, train_arguments=("a: b", "- c", "𐀀", ""))
    jobset_definition.validate(jobset)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda jobset: jobset["spec"]["failurePolicy"]["rules"][0].pop("name"),
        lambda jobset: jobset["spec"].update(replicas=2),
        lambda jobset: jobset["spec"]["replicatedJobs"][0].update(replicas="two"),
    ],
)
def test_the_definition_refuses_what_is_wrong(jobset_definition, spoil):
    _, jobset = manifest(*GKE)
    spoil(jobset)
    with pytest.raises(jsonschema.ValidationError):
        jobset_definition.validate(jobset)


def test_the_jobset_is_of_the_slices(programs):
    config, jobset = manifest(*GKE, train_arguments=("$(HOME)", "$$x"))
    assert (config["kind"], config["metadata"]["name"]) == ("ConfigMap", "my-run")
    (slices,) = jobset["spec"]["replicatedJobs"]
    job = slices["template"]["spec"]
    assert (slices["replicas"], job["completions"], job["parallelism"]) == (2, 8, 8)
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x8",
    }
    (container,) = pod["containers"]
    assert container["args"] == ["$$(HOME)", "$$$$x"]
    assert container["resources"] == {"requests": {"google.com/tpu": 4}, "limits": {"google.com/tpu": 4}}
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["onExitCodes"]["containerName"], rule["onExitCodes"]["operator"]) == (
        container["name"],
        "In",
    )
    mounted = pod["volumes"][0]["configMap"]["name"], container["volumeMounts"][0]["mountPath"]
    assert mounted == (config["metadata"]["name"], "/etc/t5lite")
    assert container["command"][-1] == "/etc/t5lite/config.json"
    assert pod["terminationGracePeriodSeconds"] == 300
    assert pod["shareProcessNamespace"] is True  # the command replaces the entry point of the image, its init


@pytest.mark.parametrize(
    ("chips", "hosts", "chips_per_host"), [("v5e-1", 1, 1), ("v6e-8", 1, 8), ("v5p-128", 16, 4)]
)
def test_hosts_of_a_slice(chips, hosts, chips_per_host):
    _, jobset = manifest("--chips", chips, "--image", "x")
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    limits = job["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert (job["completions"], limits["google.com/tpu"]) == (hosts, chips_per_host)
