"""A sweep in a bucket: killed, left to who holds a run, gone on with, and what is made of its runs."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from t5lite.cli.main import main
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.scaling.sweep_running import Processes
from t5lite.scaling.tables import Reading
from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import HERE, REPOSITORY, write

STEPS = 6
KILLED = '''
import subprocess, sys
from t5lite.cli.main import main
from t5lite.scaling import sweep_running

TRAINING = """
import os, signal, sys
from t5lite.cli.main import main
from t5lite.training.telemetry import Telemetry

write_entry = Telemetry.write_entry

def write_and_die(self):
    step = self._window.step
    write_entry(self)
    if step == 4:
        os.killpg(0, signal.SIGKILL)

Telemetry.write_entry = write_and_die
main(sys.argv[1:])
"""
num_started = 0

class Popen(subprocess.Popen):
    def __init__(self, words, **options):
        global num_started
        num_started += 1
        super().__init__([words[0], "-c", TRAINING, *words[3:]] if num_started == 2 else words, **options)

sweep_running.subprocess.Popen = Popen
main(sys.argv[1:])
'''
"""A sweep that a kill ends together with its second run, within that run's fifth step."""


SWEEP = """
from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s


def sweep():
    recipe = s.recipe(
        {recipe!r},
        *("--data.store", {store!r} + "/train", "--evaluations.heldout.store", {store!r} + "/heldout"),
        *("--training.total-steps", "{steps}", "--checkpoints.save-every-steps", "1"),
    )
    models = [s.resized(recipe.model, embed_dim=width, num_layers=1, num_heads=2) for width in (8, 16)]
    runs = [r.replace(recipe, model=model) for model in models]
    return s.Sweep(directory={directory!r}, families={{"gpt": runs}}, evaluate=False)
"""


def losses(directory: StoragePath, table: str) -> dict[str, float]:
    observations = Reading().tables(str(directory / table))[""].observations
    return dict(zip(map(str, observations.params), observations.loss, strict=True))


@pytest.mark.slow
def test_a_sweep_that_is_killed_in_a_bucket_goes_on(gcs, text_data, tmp_path, monkeypatch, capfd):
    around = place(f"{gcs}/my sweeps, é 日本")
    directory = around / "a"
    for name in ("ab/runs/x", "ab"):  # "a" is how its name begins
        (around / name / "config.json").write_text("{}")
    recipe = str(HERE / "tiny_gpt_recipe.py")
    told = SWEEP.format(recipe=recipe, store=str(text_data), steps=STEPS, directory=str(directory))
    sweep = ["sweep", str(write(tmp_path / "sweep é.py", told))]
    monkeypatch.chdir(tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *sweep],
        check=False, cwd=REPOSITORY, start_new_session=True, capture_output=True, text=True,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (noted,) = (directory / "finished").iterdir()
    done = directory / "runs" / noted.stem
    (half,) = [each for each in done.parent.iterdir() if each != done]
    of_done = done.sizes()

    (claim,) = (half / "lease").glob("*.json")
    holder = json.loads(claim.read_text()) | {"machine": "another", "host": "another"}
    claim.write_text(json.dumps(holder | {"deadline_seconds": 600}))
    monkeypatch.setattr(Processes, "run", lambda processes, words: main(list(words)))
    assert main(sweep) == 0
    said = capfd.readouterr().err
    assert f"{half.name}: being trained by process {holder['pid']} on another" in said
    assert "1 of 2 runs are finished; 1 are being trained by other processes" in said
    assert len(losses(directory, "table.csv")) == 1

    claim.write_text(json.dumps(holder | {"deadline_seconds": 0.1}))
    assert main(sweep) == 0
    said = capfd.readouterr().err
    assert "no sign of life for 0.1 s" in said
    (begun,) = re.findall(rf"{half.name}: .* 6 steps, from step (\d+)\n", said)
    assert f"resuming from step {begun} of {half}/checkpoints" in said
    assert "2 of 2 runs are finished" in said
    assert done.sizes() == of_done
    expected = []
    for run in (done, half):
        entries = read_metrics(run / "metrics.jsonl")
        assert [each["step"] for each in entries if each["kind"] == "train"] == list(range(1, STEPS + 1))
        expected.append([each["loss"] for each in entries if each["kind"] == "eval"][-1])
        assert not (run / "lease").exists()
    assert sorted(losses(directory, "table.csv").values()) == sorted(expected)
    assert losses(directory, "table.parquet") == losses(directory, "table.csv")

    report = ["report", str(directory), "--output", str(around / "report é")]
    assert main(report) == 0
    page = (around / "report é" / "report.html").read_text()
    assert done.name in page
    assert half.name in page
    before = around.sizes()
    assert main(report) == 2
    picture = str(around / "fit.png")
    assert main(["scaling", "fit", str(directory / "table.parquet"), "--picture", picture]) == 2
    assert "no method could be fitted" in capfd.readouterr().err
    assert around.sizes() == before
    vectors = around / "vectors é.npy"
    embed = ["embed", "--run", str(half), "--text", "It is a truth", "", "--output-file", str(vectors)]
    assert main(embed) == 0
    with vectors.open("rb") as stream:
        np.testing.assert_allclose(np.linalg.norm(np.load(stream), axis=1), [1, 0], rtol=1e-5)
    assert main(embed) == 2
    assert around.sizes().keys() == {*before, vectors.name}
    assert [path.name for path in tmp_path.iterdir()] == ["sweep é.py"]
