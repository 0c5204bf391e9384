"""``t5lite sweep --launch``: a job for each run, that is the run, in the order in which they go on."""

import json
import subprocess
from dataclasses import replace

import pytest

from t5lite import run_config
from t5lite.cli import launch_command
from t5lite.cli.main import main
from t5lite.cli.sweep_recipes import write_recipes
from t5lite.core.errors import ConfigError, DoesNotFitError
from t5lite.core.storage.addresses import place
from t5lite.launching.fit import Fit
from t5lite.launching.platforms import PLATFORMS
from t5lite.optim import WarmupStableDecay
from t5lite.scaling import sweep_running, sweeps
from t5lite.scaling.budgets import Tokens
from t5lite.scaling.ladders import branches
from t5lite.scaling.sweeps import Sweep, expand
from tests.launch_jobs import OPTIONS


def three_runs(directory: str):
    """Return runs of which each goes on from the one before."""
    stores = "--data.store", "gs://bucket/d", "--evaluations.heldout.store", "gs://bucket/h"
    recipe = run_config.load(place("configs/pretrain_gpt.py"), stores)
    recipe = replace(recipe, schedule=WarmupStableDecay(peak=0.01, warmup_steps=7, decay_steps=120))
    budgets = [Tokens(tokens=steps * recipe.training.batch_size * 64) for steps in (100, 200, 400)]
    runs = branches(recipe, models=[recipe.model], budgets=budgets)
    return expand(Sweep(directory=directory, families={"gpt": runs}), identity=str)[0]


@pytest.fixture(scope="module")
def runs_in_a_bucket():
    return three_runs("gs://bucket/sweep")


@pytest.fixture(scope="module")
def runs_on_a_disk(tmp_path_factory):
    return three_runs(str(tmp_path_factory.mktemp("sweep")))


@pytest.fixture(autouse=True)
def nothing_is_trained(monkeypatch):
    """No bucket is asked."""
    monkeypatch.setattr(sweep_running, "available_steps", lambda checkpoints: [])
    monkeypatch.setattr(sweeps.SweepRun, "state", lambda run: (sweeps.WAITING, 0))


def test_slurm_starts_each_run_after_the_one_that_it_goes_on_from(runs_on_a_disk, tmp_path, capsys):
    said, jobs, stand_ins, record = [], tmp_path / "my jobs", tmp_path / "bin", tmp_path / "record"
    words = "slurm --nodes 1 --flag=--partition=gpu --partitioning.style tensor_parallel"
    write_recipes(jobs, runs_on_a_disk, launch=words, say=said.append)
    for run in runs_on_a_disk:
        assert run_config.load(jobs / f"{run.id}.json") == run.started
        job = (jobs / f"{run.id}.sbatch").read_text()
        (line,) = (line for line in job.splitlines() if line.startswith('{"'))
        assert json.loads(line)["run_dir"] == run.config.run_dir
        assert json.loads(line)["partitioning"]["style"] == "tensor_parallel"
        assert f"#SBATCH --job-name=run-{run.id}\n" in job
        assert "#SBATCH --partition=gpu\n" in job
    assert said[-1].startswith("2 of them go on from a checkpoint of a run above: in one shell, ")
    # What bash makes of the lines; the number of a job is that of the call.
    stand_ins.mkdir()
    (stand_ins / "sbatch").write_text('#!/bin/bash\necho "$*" >>"$RECORD"\ngrep -c . "$RECORD"\n')
    (stand_ins / "sbatch").chmod(0o755)
    environment = {"PATH": f"{stand_ins}:/usr/bin:/bin", "RECORD": str(record)}
    lines = capsys.readouterr().out
    subprocess.run(["bash", "-eu"], input=lines, text=True, check=True, env=environment)
    first, second, third = (str(jobs / f"{run.id}.sbatch") for run in runs_on_a_disk)
    assert record.read_text().splitlines() == [
        f"--parsable {first}",
        f"--parsable --dependency=afterok:1 {second}",
        f"--dependency=afterok:2 {third}",
    ]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_has_a_file_and_a_line_for_each_run(platform, runs_in_a_bucket, tmp_path, capsys):
    said, runs = [], runs_in_a_bucket[:2]
    words = f"{platform} {' '.join(OPTIONS[platform])} --fit skip"
    write_recipes(tmp_path, runs, launch=words, say=said.append)
    kind = PLATFORMS[platform]
    written = {f"{run.id}.{suffix}" for run in runs for suffix in ("json", kind.suffix)}
    assert {path.name for path in tmp_path.iterdir()} == written
    lines = capsys.readouterr().out.splitlines()
    for run, line in zip(runs, lines, strict=True):
        assert f"{tmp_path}/{run.id}.{kind.suffix}" in line
    assert lines[1].endswith(f"  # goes on from step 80 of {runs[0].id}")
    assert (said[-1].endswith("start each when that is there")) == (not kind.keeps_order)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ("slurm --nodes 0", ConfigError, r"run \w+: .*--nodes 0 must be 1 or more"),
        ("moon", ConfigError, "unknown platform 'moon'"),
        ("slurm --run-dir /x", ConfigError, "leave --run-dir out, and give SWEEP.py's Sweep another"),
        ("slurm --seed 7", ConfigError, "the words change what is trained"),
        ("slurm --checkpoints.keep-steps 7", ConfigError, "the words change what is trained"),
        ("slurm --nodes 2", ConfigError, "on a disk that 2 hosts do not share"),
        ("slurm --chips h100-8", DoesNotFitError, r"run \w+: predicted not to fit"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(
    words, error, said, runs_on_a_disk, tmp_path, monkeypatch, capsys
):
    no_fit = Fit(needed=2.0, available=1, fits=False, said="predicted not to fit")
    monkeypatch.setattr(launch_command.fit, "predicted", lambda *_, **__: no_fit)
    with pytest.raises(error, match=said):
        write_recipes(tmp_path / "jobs", runs_on_a_disk, launch=words, say=print)
    assert (capsys.readouterr().out, list(tmp_path.iterdir())) == ("", [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--launch", "slurm"], "give --write-recipes DIR, too"),
        (["--write-recipes", "d", "--launch", "slurm 'x"], "is not as a shell reads words: No closing"),
        (["--write-recipes", "d", "--launch", " "], "--launch needs words of t5lite launch"),
        (["--write-recipes", "d", "--launch", "slurm --name x"], "--launch has --name, which each run has"),
        (["--write-recipes", "d", "--launch", "slurm --config=x.py"], "--launch has --config"),
        (["--write-recipes", "d", "--launch", "slurm -- --seed 7"], "t5lite train alone would check"),
        (["--write-recipes", "gs://bucket/d", "--launch", "slurm"], "read job files from a disk"),
        (["--write-recipes", "d", "--list"], "--list writes nothing"),
    ],
)
def test_what_contradicts_itself_is_refused_before_the_sweep_is_read(options, said, capsys):
    assert main(["sweep", "nowhere.py", *options]) == 2
    assert said in capsys.readouterr().err


def test_nothing_is_written_of_a_sweep_that_is_finished(runs_on_a_disk, monkeypatch, tmp_path):
    monkeypatch.setattr(sweeps.SweepRun, "state", lambda run: ("finished", 100))
    said = []
    write_recipes(tmp_path / "jobs", runs_on_a_disk, launch="slurm", say=said.append)
    assert said == ["all of them are finished: nothing is written"]
    assert list(tmp_path.iterdir()) == []
