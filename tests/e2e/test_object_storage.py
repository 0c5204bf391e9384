"""The whole life of a run in a bucket: trained, killed, resumed by more processes, measured, exported."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.core.storage.addresses import place
from t5lite.runner.training import train
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import RECIPE, REPOSITORY, start

KILLED = """
import os, signal, sys
from t5lite.cli.main import main
from t5lite.training.telemetry import Telemetry

write_entry = Telemetry.write_entry

def write_and_die(self):
    step = self._window.step
    write_entry(self)
    if step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

Telemetry.write_entry = write_and_die
main(sys.argv[2:])
"""


@pytest.fixture(autouse=True)
def in_a_folder_that_stays_empty(tmp_path: Path, monkeypatch):
    """What was meant for a bucket must not become a folder called ``gs:``."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield
    assert list(folder.iterdir()) == []


def _losses(run: object) -> list[tuple[str, int, float]]:
    entries = read_metrics(place(str(run)) / "metrics.jsonl")
    return [(each["kind"], each["step"], each["loss"]) for each in entries if "loss" in each]


@pytest.mark.slow
def test_a_run_in_a_bucket_is_the_run_of_a_disk(bucket, train_arguments, pretrained, exported, capsys):
    run = f"{bucket}/runs/a"
    assert main([*train_arguments, "--run-dir", run]) == 0
    assert _losses(run) == _losses(pretrained)
    assert sorted(path.name for path in (place(run) / "checkpoints").iterdir()) == ["30", "40"]
    assert main([*train_arguments, "--run-dir", run]) == 0
    assert f"{run} is finished: step 40" in capsys.readouterr().err

    assert main(["evaluate", "--run", run]) == 0
    in_bucket = capsys.readouterr().out
    assert main(["evaluate", "--run", str(pretrained)]) == 0
    assert in_bucket.splitlines()[1:] == capsys.readouterr().out.splitlines()[1:]
    assert json.loads((place(run) / "evaluation.json").read_text())["step"] == 40

    outputs = f"{bucket}/outputs.jsonl"
    assert main(["generate", "--run", run, "--text", "It is a truth", "--output-file", outputs]) == 0
    assert json.loads(place(outputs).read_text())["input"] == "It is a truth"

    assert main(["export", "--run", run, "--output", f"{bucket}/exported"]) == 0
    assert main(["import", "--from", f"{bucket}/exported", "--output", f"{bucket}/imported"]) == 0
    for name in ("model.safetensors", "config.json", "spiece.model"):
        assert (place(bucket) / "exported" / name).read_bytes() == (exported / name).read_bytes()
    capsys.readouterr()
    written = []
    for source in (run, f"{bucket}/imported"):
        words = ["--text", "It is a truth", "--encoder-length", "32", "--max-decode-length", "8"]
        assert main(["generate", "--run", source, *words]) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1]


@pytest.mark.slow
def test_a_run_in_a_bucket_is_killed_and_resumed_by_two_processes(gcs, train_arguments, pretrained, capsys):
    run = f"{gcs}/killed"
    arguments = [*train_arguments, "--run-dir", run]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "25", *arguments],  # the save of step 20 has waited for that of 10
        check=False,
        cwd=REPOSITORY,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        together = ["--coordinator-address", f"127.0.0.1:{free.getsockname()[1]}", "--num-processes", "2"]
    processes = [start([*arguments, *together, "--process-id", str(each)]) for each in range(2)]
    said = [process.communicate(timeout=900)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert re.search(f"resuming from step [12]0 of {run}/checkpoints", said[0])
    for found, expected in zip(_losses(run), _losses(pretrained), strict=True):
        assert found[:2] == expected[:2]
        assert found[2] == pytest.approx(expected[2], rel=1e-4)
    assert main(["evaluate", "--run", run]) == 0
    assert not (REPOSITORY / "gs:").exists()


class Reached(Exception):
    """A step that the test does not want to go beyond."""


def test_the_stacks_of_a_stuck_training_that_python_started_go_to_its_bucket(train_arguments, monkeypatch):
    def supervised(config, directory):
        raise Reached(str(directory))

    monkeypatch.setattr("t5lite.runner.training.supervised", supervised)
    config = run_config.load(place(train_arguments[2]), ["--run-dir", "gs://bucket/x", *train_arguments[3:]])
    with pytest.raises(Reached, match=r"^gs://bucket/x$"):
        train(config)


@pytest.mark.fault(
    "a run directory or an output has a scheme that nothing writes to (`memory://`, `hdfs://`),"
    " a mistyped one (`gs:/b/x`), no bucket, or a client that is not installed",
    "refused before any work with the remedy; no folder `gs:` appears",
    2,
)
@pytest.mark.parametrize(
    "address",
    ["memory://bucket/run", "hdfs://bucket/run", "gs:/bucket/run", "s3:bucket/run", "gs://", "s3a://b/x"],
)
def test_what_is_no_place_for_a_run_is_refused(refused, train_arguments, pretrained, address):
    refused([*train_arguments, "--run-dir", address], "gs://|scheme|bucket")
    refused(["export", "--run", pretrained, "--output", address], "gs://|scheme|bucket")
    refused(["import", "--from", pretrained, "--output", address], "gs://|scheme|bucket")
    refused(["evaluate", "--run", address], "gs://|scheme|bucket")


@pytest.mark.fault("the bucket is not there, or hidden", "refused before any work", 2)
def test_a_bucket_that_is_not_there_is_refused(gcs, refused, train_arguments, text_data, pretrained):
    missing = "gs://no-such-bucket/x"
    refused([*train_arguments, "--run-dir", missing], "there is no bucket gs://no-such-bucket")
    refused(["export", "--run", pretrained, "--output", missing], "there is no bucket gs://no-such-bucket")
    for words in (
        ["status"],
        ["evaluate", "--run"],
        ["generate", "--text", "a", "--run"],
        ["embed", "--text", "a", "--output-file", "v.npy", "--run"],
        ["embed", "--run", pretrained, "--output-file", "v.npy", "--input-file"],
        ["train", "--config"],
        ["sweep"],
        ["compare", pretrained],
        ["scaling", "fit"],
        ["report", pretrained, "--predictions"],
        ["report", pretrained, "--output"],
        ["export", "--output", "hf", "--run"],
        ["import", "--output", "imported", "--from"],
        ["inspect-data", "--store"],
        ["inspect-data", "--run"],
        ["report", "--directory"],
        ["report"],
        ["quickstart", "--directory"],
        ["prepare", "text", "--output", "prepared", "--inputs"],
        ["prepare", "text", "--vocabulary", "bytes", "--inputs", text_data.parent / "austen.txt", "--output"],
    ):
        file = missing if words[-1] not in ("fit", "--output-file") else f"{missing}.csv"
        refused([*words, file], "there is no bucket gs://no-such-bucket")


SWEEP = """
from t5lite.scaling import sweep_recipe as s


def sweep():
    return s.Sweep(directory={!r}, families={{"tiny": [s.recipe({!r})]}})
"""


@pytest.fixture
def without_credentials(s3, monkeypatch, tmp_path):
    """Where nothing says who asks, neither variables nor files."""
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    s3fs.S3FileSystem.clear_instance_cache()
    yield s3
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    "words",
    [
        ["sweep", "{}/sweep.py"],
        ["sweep", "sweep.py"],
        ["sweep", "sweep.py", "--list"],
        ["embed", "--run", "{}/run", "--text", "a", "--output-file", "v.npy"],
        ["embed", "--run", "run", "--text", "a", "--output-file", "{}/v.npy"],
        ["embed", "--run", "run", "--input-file", "{}/in.txt", "--output-file", "v.npy"],
        ["report", "{}/run"],
        ["report", "table.csv", "--output", "{}/report"],
        ["report", "table.csv", "--predictions", "{}/said.json"],
        ["scaling", "fit", "{}/table.csv"],
        ["scaling", "fit", "table.csv", "--picture", "{}/fit.png"],
        ["compare", "{}/a", "{}/b"],
        ["compare", "a", "b", "--html", "{}/page.html"],
        ["inspect-data", "--run", "{}/run", "--step", "1"],
        ["inspect-data", "--config", "{}/config.json", "--step", "1"],
    ],
    ids=" ".join,
)
def test_missing_credentials_are_told_before_any_work(
    words, without_credentials, tmp_path, monkeypatch, capfd
):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "table.csv").write_text("params,tokens,loss\n1,2,3\n4,5,6\n")
    (folder / "sweep.py").write_text(SWEEP.format(f"{without_credentials}/sweep", str(RECIPE)))
    capfd.readouterr()
    assert main([each.format(without_credentials) for each in words]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert "your credentials are missing, old or wrong: log in by `aws configure`" in line
    assert sorted(path.name for path in folder.iterdir()) == ["sweep.py", "table.csv"]


def test_a_folder_of_a_bucket_is_no_file_of_texts(bucket, refused):
    folder = place(bucket) / "texts é"
    for name in ("a.txt", "b.csv/c.txt"):
        (folder / name).write_text("It is a truth")
    for words in (
        ["embed", "--run", "run", "--output-file", "v.npy", "--input-file", folder],
        ["scaling", "fit", folder / "b.csv"],
        ["report", "run", "--predictions", folder],
    ):
        refused(words, "directory")
