"""``t5lite launch``: what is refused before anything starts, what is said, and what becomes of a client."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.core.exit_codes import ExitCode
from t5lite.launching import addresses, submission
from t5lite.launching.platforms import PLATFORMS
from tests.launch_jobs import OPTIONS, RECIPE
from tests.source_models import model_of_recipe

ROOT = Path(__file__).parents[3]
BUCKET = (
    "--run-dir",
    "gs://bucket/r",
    "--data.store",
    "gs://bucket/d",
    "--evaluations.heldout.store",
    "gs://bucket/h",
)
WIDE = ("--training.batch-size", "64", "--partitioning.replica", "2")
"""What a run on two slices of 32 chips needs."""
BASE = ROOT / "configs" / "t5_1_1_base_span_corruption.py"
XXL = ("--config", str(BASE), "--model", "t5-1.1-xxl", *BUCKET)


def launch(platform: str, *words: str) -> int:
    return main(["launch", platform, "--config", str(RECIPE), "--dry-run", *OPTIONS[platform], *words])


@pytest.fixture
def refused(capsys):
    def run(*words: str, message: str) -> None:
        assert main(["launch", *words]) == ExitCode.USER_ERROR
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("t5lite launch: ")
        assert captured.err.count("\n") == 1
        assert re.search(message, captured.err), captured.err

    return run


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_dry_run_prints_what_would_be_handed_over(platform, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert launch(platform, *BUCKET, *WIDE, "--seed", "7") == 0
    captured = capsys.readouterr()
    assert '"seed": 7' in captured.out or platform == "xpk"
    assert re.search(r"would run: \S+ .*tiny-recipe\.(sh|yaml|sbatch)\n$", captured.err)
    assert ("predicted to fit" in captured.err) == (platform in ("tpu", "gke", "xpk"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_explains_itself(platform, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["launch", platform, "--help"])
    assert stopped.value.code == 0
    assert PLATFORMS[platform].summary in " ".join(capsys.readouterr().out.split())


def test_the_platforms_are_listed(capsys):
    assert main(["launch"]) == 0
    listed = capsys.readouterr().out
    assert [name for name in PLATFORMS if f"\n  {name} " not in listed] == []


@pytest.mark.fault(
    "`t5lite launch` is asked for a run that is predicted not to fit its chips",
    "refused before anything is handed over",
    3,
)
def test_a_run_that_does_not_fit_is_not_started(capsys):
    words = ["launch", "gke", *XXL, "--image", "x", "--chips", "v5e-8", "--dry-run"]
    assert main(words) == ExitCode.DOES_NOT_FIT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("t5lite launch: predicted not to fit v5e:2x4: ")
    assert "--fit skip starts it all the same" in captured.err
    assert main([*words, "--fit", "skip"]) == 0
    assert "not checked whether it fits v5e:2x4" in capsys.readouterr().err
    trained_in_part = ["--execution.remat", "dots", "--trainable", "decoder/layers/cross_attention"]
    assert main([*words, *trained_in_part]) == 0
    trained, fits, _ = capsys.readouterr().err.splitlines()
    assert trained.startswith("trains 1,610,612,736 of 11,135,332,352 parameters, 4 of 29 arrays: decoder/l")
    assert fits.startswith("may just fit v5e:2x4: ")


@pytest.mark.fault(
    "`t5lite launch` is asked for a local run directory on hosts without this machine's disk",
    "refused; says `gs://`",
    2,
)
@pytest.mark.parametrize("platform", ["tpu", "gke", "xpk", "slurm", "ssh"])
def test_a_run_directory_that_the_hosts_do_not_see_is_refused(platform, refused):
    words = ("--config", str(RECIPE), *OPTIONS[platform], "--dry-run")
    refused(
        platform,
        *words,
        message=r"run_dir=/\S+, data.store=\S+, evaluations.heldout.store=\S+: on a disk .*gs://BUCKET",
    )


@pytest.mark.parametrize("platform", ["slurm", "ssh"])
def test_a_disk_that_all_hosts_see_can_be_answered_for(platform, capsys):
    assert launch(platform, "--shared-filesystem") == 0
    assert f'"run_dir": "{os.getcwd()}/runs/tiny"' in capsys.readouterr().out


def test_every_place_of_a_run_is_checked():
    """A field that holds a place, in any recipe, is among those that are asked for their disk."""
    for recipe in sorted((ROOT / "configs").glob("*.py")):
        config = run_config.load(recipe, read_source=model_of_recipe).resolved()
        here = os.getcwd() + "/"
        words = re.findall(r'"(/[^"]*)"', str(run_config.to_json(config)).replace("'", '"'))
        assert {word for word in words if word.startswith(here)} == {*addresses.places(config).values()}, (
            recipe
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("moon",), r"unknown platform 'moon'; allowed: gke, local, slurm, ssh, tpu, xpk"),
        (("--config", "x.py", "tpu"), "the platform comes first"),
        (("local", "--config", "nowhere.py"), r"recipe nowhere\.py does not exist"),
        (("local", "--num-processes", "0"), "--num-processes 0 must be 1 or more"),
        (("local", "--max-restarts", "-1"), "--max-restarts -1 must be 0"),
        (("local", "--fit", "compile"), "needs accelerators"),
        (("local", "--name", "My Run"), "RFC 1123"),
        (("local", "--", "a\nb"), "argument of t5lite train 'a.nb' holds"),
        (("gke", "--chips", "v9-8", "--image", "x"), r"names no known chip; allowed: a100"),
        (("gke", "--chips", "v5e-7", "--image", "x"), "no slice has that number"),
        (("gke", "--chips", "v5e-2", "--image", "x"), r"2 chips of v5e are no whole hosts.*1, 4, 8 chips"),
        (("gke", "--chips", "h100-8", "--image", "x"), r"are no TPUs; GPUs are started by slurm or ssh"),
        (("gke", "--chips", "v3-8", "--image", "x"), "GKE has no slices of v3"),
        (
            ("gke", "--chips", "v5e-4", "--image", "x\ny"),
            r"'x.ny' is no name of a container image, such as",
        ),
        (("slurm", "--t5lite", "a\0b"), r"--t5lite 'a.x00b' holds"),
        (("gke", "--chips", "v5e-4", "--num-slices", "0", "--image", "x"), "num_slices=0 must be 1 or more"),
        (
            ("tpu", "--chips", "tpu7x-8", "--zone", "us-west4-a", "--package", "p"),
            "has no tpu7x; start it by gke or xpk",
        ),
        (
            ("tpu", "--chips", "v5p:2x8x8", "--zone", "us-west4-a", "--package", "p"),
            "v5p-256 is arranged as v5p:4x4x8",
        ),
        (("tpu", "--zone", "us-west4-a"), "launch tpu: --chips, --package; see t5lite launch tpu --help"),
        (
            ("slurm", "--max-restarts", "few"),
            "--max-restarts 'few' must be a whole number; see t5lite launch",
        ),
        (("local", "--flag=-x"), "--flag is for the client of a platform, and this one has none"),
        (("slurm", "--name"), "--name needs a value; see t5lite launch slurm --help"),
        (("slurm", "--chips", "v5e-16"), "are no GPUs; TPU slices are started by tpu, gke or xpk"),
        (("slurm", "--chips", "h100-16", "--nodes", "2"), "--chips h100-16 says what --nodes would"),
        (("slurm", "--gpus-per-node", "8", "--tasks-per-node", "8"), "leave out --tasks-per-node"),
        (("slurm", "--trainable", "decodr"), "'decodr' matches none of the 29 arrays; near: decoder"),
        (("slurm", "--learning-rate-factors", "x", "0.5"), "'x' matches nothing that is trained"),
        (("slurm", "--time", "soon"), "--time 'soon' must be as sbatch takes it"),
        (("ssh", "--hosts", "a,b c"), "'b c' is no host"),
        (("ssh", "--hosts", "a,-oProxyCommand=x"), "is no host"),
        (("ssh", "--hosts", "a,b,a"), "--hosts names a twice"),
        (("ssh", "--hosts", "a", "--port", "70000"), "at most 65535"),
        (("ssh", "--hosts", "a", "--chips", "h100-16"), "on 2 hosts, but --hosts names 1"),
    ],
)
def test_what_cannot_be_started_is_refused_in_one_line(words, message, refused):
    recipe = () if "--config" in words else ("--config", str(RECIPE))
    end = words.index("--") if "--" in words else len(words)
    refused(*words[:end], *recipe, "--dry-run", *words[end:], message=message)


OPTIONS_AND_VALUES = (
    "-- - --nodes --nodes=0 --time 99 nan --name --flag $(x) --fit predict --chips v5e-8 h100-8 "
    "--max-restarts --seed --run-dir gs://bucket/r --model x"
)
ODD = st.sampled_from(["", "a\nb", *OPTIONS_AND_VALUES.split()])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(ODD, max_size=5))
def test_whatever_is_asked_for_ends_in_a_code_and_starts_nothing_by_mistake(words, monkeypatch, capsys):
    """Words that are no mistake are handed over; all others are refused, before anything is."""
    started = []
    monkeypatch.setattr(submission, "start", lambda text, path, **_: started.append(text) or 0)
    capsys.readouterr()
    code = main(["launch", "slurm", "--config", str(RECIPE), *words])
    captured = capsys.readouterr()
    assert code in (0, 2, 3)
    assert bool(started) == (code == 0)
    assert "Traceback" not in captured.err
    assert code == 0 or captured.err


def run(directory: Path, *words: str, path: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "t5lite.cli.main", "launch", *words],
        cwd=directory,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("platform", "client", "words"),
    [("slurm", "sbatch", ["FILE"]), ("gke", "kubectl", ["apply", "--namespace=a b", "--filename", "FILE"])],
)
def test_the_client_gets_the_file_and_its_exit_code_is_the_command_s(tmp_path, platform, client, words):
    path = tmp_path / client
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >words\nfor file; do :; done\ncat "$file"\nexit 7\n')
    path.chmod(0o755)
    options = {"slurm": [], "gke": ["--chips", "v5e-8", "--image", "x", *BUCKET, "--flag=--namespace=a b"]}[
        platform
    ]
    arguments = (platform, "--config", str(RECIPE), *options)
    done = run(tmp_path, *arguments, path=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 7, done.stderr
    assert re.sub(r"/dev/fd/\d+", "FILE", (tmp_path / "words").read_text()).splitlines() == words
    assert "\n# tiny-recipe: t5lite train on " in f"\n{done.stdout}"
    assert '"total_steps": 40' in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([client, "words"])


def test_without_the_client_the_file_is_kept_and_said_how_it_is_used(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    words = ["launch", "slurm", "--config", str(RECIPE)]
    for _ in range(2):  # the same file again is no other file
        assert main(words) == ExitCode.USER_ERROR
        assert capsys.readouterr().err == (
            "t5lite launch: sbatch is not on PATH: nothing was started. tiny-recipe.sbatch holds all that is "
            "needed; where sbatch is: sbatch tiny-recipe.sbatch\n"
        )
    kept = tmp_path / "tiny-recipe.sbatch"
    assert kept.read_text().startswith("#!/usr/bin/env bash\n")
    assert main([*words, "--seed", "1"]) == ExitCode.USER_ERROR
    assert "is there already, and is another file: move it away, or give --name" in capsys.readouterr().err
    assert '"seed": 0' in kept.read_text()
