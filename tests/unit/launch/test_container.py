"""The container and the repository's scripts, by their linters; the container's steps, as they stand."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.launch_jobs import linter

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "launch" / "Dockerfile"
SCRIPTS = [ROOT / ".ci" / "run", *sorted((ROOT / "launch").glob("*.sh"))]


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, their continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", "\\\n\0", text).replace("\\\n\0", " ").splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line]


def test_hadolint_finds_nothing():
    done = subprocess.run([linter("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    done = subprocess.run([linter("shellcheck"), script], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_it_is_run_by_a_user_who_is_not_root():
    users = [value for name, value in instructions() if name == "USER"]
    assert users == ["1000"]
    assert any(name == "RUN" and "--uid 1000" in value for name, value in instructions())


def test_all_that_is_copied_is_there_and_is_all_that_is_packaged():
    copied = [word for name, value in instructions() if name == "COPY" for word in value.split()[:-1]]
    assert [word for word in copied if not (ROOT / word).exists()] == []
    packaged = re.search(r"find_packages\(include=\[(.*?)\]\)", (ROOT / "setup.py").read_text())[1]
    assert {*re.findall(r'"(\w+)"', packaged)} <= {*copied}


def run_steps(programs, accelerator: str) -> "subprocess.CompletedProcess[str]":
    """Run the RUN steps by the shell that the Dockerfile names, with stand-ins for what changes a system."""
    shell = json.loads(next(value for name, value in instructions() if name == "SHELL"))
    for name in ("useradd", "rm"):
        programs.add(name, "exit 0")
    programs.add("apt-get", 'printf "apt-get %s\\n" "$*" >>"$RECORD"')
    programs.add("python", 'printf "%s\\n" "$*" >>"$RECORD"')
    steps = " ;\n".join(value for name, value in instructions() if name == "RUN")
    return subprocess.run(
        [*shell, steps],
        env=programs.environment(ACCELERATOR=accelerator),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("accelerator", "extras"), [("cpu", "gcs,s3"), ("tpu", "gcs,s3,tpu"), ("gpu", "gcs,s3,gpu")]
)
def test_each_accelerator_installs_extras_that_there_are(programs, accelerator, extras):
    assert run_steps(programs, accelerator).returncode == 0
    *system, installed = programs.record
    assert installed == f"-m pip install --no-cache-dir /src[{extras}]"
    assert system == ["apt-get update", "apt-get install --yes --no-install-recommends tini=0.19.*"]
    known = (ROOT / "setup.py").read_text()
    assert [extra for extra in extras.split(",") if f'"{extra}":' not in known] == []


def test_another_accelerator_is_refused_before_anything_is_installed(programs):
    done = run_steps(programs, "npu")
    assert done.returncode == 2
    assert "ACCELERATOR=npu must be cpu, tpu or gpu" in done.stderr
    assert [line for line in programs.record if "pip" in line] == []


def test_an_init_is_process_1():
    """Which gets signals of t5lite's while it starts, and takes over processes without a parent."""
    (entry_point,) = [json.loads(value) for name, value in instructions() if name == "ENTRYPOINT"]
    assert entry_point == ["tini", "--"]
