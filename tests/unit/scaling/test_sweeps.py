"""Sweeps without training: what is run, skipped, left to others or failed, and the tables."""

import csv
import dataclasses
import io
import json
import shlex
import signal
import subprocess
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.core.errors import ConfigError, TransientError
from t5lite.core.storage.addresses import place
from t5lite.launching.job import Job
from t5lite.partitioning import multihost
from t5lite.scaling import sweep_epochs, sweep_running, sweep_table, sweeps
from t5lite.scaling.counting import count_run
from t5lite.scaling.sweep_epochs import Epochs
from t5lite.scaling.sweep_running import Processes, run_all
from t5lite.scaling.sweep_table import _csv, _parquet, write_tables
from t5lite.scaling.sweeps import Sweep, expand, read_sweep

RECIPE = run_config.load(place("configs/pretrain_gpt.py"))


def contents(path: str) -> str:
    """A store's contents are told by the last part of its name here."""
    return path.rpartition("/")[2]


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "store_identity", contents)
    runs = [replace(RECIPE, seed=seed, evaluations={}) for seed in range(3)]
    return Sweep(directory=str(tmp_path / "sweep"), families={"gpt": runs}, evaluate=False)


def test_runs_come_cheapest_first_and_once(sweep):
    long = replace(RECIPE, training=replace(RECIPE.training, total_steps=900))
    runs, notes = expand(replace(sweep, families={"gpt": [long, RECIPE, RECIPE]}))
    assert [run.config.training.total_steps for run in runs] == [600, 900]
    assert notes == ["runs that are the same as others, and are run once: 1"]
    assert all(run.config.run_dir.endswith(f"/sweep/runs/{run.id}") for run in runs)
    with pytest.raises(ConfigError, match="the same run"):
        expand(replace(sweep, families={"a": [RECIPE], "b": [RECIPE]}))


class Fake(Processes):
    """Ends with the codes that it is given, and remembers what it was asked."""

    def __init__(self, *codes):
        super().__init__()
        self.codes, self.asked, self.signal = list(codes), [], None

    def train(self, run):
        self.asked.append(run.config.seed)
        code = self.codes.pop(0)
        if code >= 128:
            self.stopped_by = code - 128
        return code


def outcome_of(sweep, fake):
    runs, _ = expand(sweep)
    said, finished = [], []
    outcome = run_all(
        runs, fake, evaluate=sweep.evaluate, say=said.append, finished=lambda run: finished.append(run.id)
    )
    assert finished == outcome.done
    return outcome, said


def test_a_run_that_fails_is_said_and_the_others_go_on(sweep):
    fake = Fake(0, 4, 0)
    outcome, said = outcome_of(sweep, fake)
    assert len(outcome.done) == 2
    assert list(outcome.failed.values()) == [4]
    assert outcome.exit_code == 4
    assert any("failed with code 4" in line for line in said)


def test_what_asks_for_another_start_gets_it_a_few_times(sweep):
    fake = Fake(75, 0, 75, 75, 75, 0)
    outcome, _ = outcome_of(sweep, fake)
    assert len(outcome.done) == 2
    assert outcome.exit_code == 75
    assert len(fake.asked) == 6


def test_a_signal_ends_the_sweep_with_its_code(sweep):
    fake = Fake(0, 143)
    outcome, _ = outcome_of(sweep, fake)
    assert (len(outcome.done), outcome.failed, outcome.exit_code) == (1, {}, 143)
    assert len(fake.asked) == 2


def test_what_is_finished_or_held_by_others_is_not_started(sweep, monkeypatch):
    runs, _ = expand(sweep)
    states = dict(zip((run.id for run in runs), ("finished", "running", "waiting"), strict=True))
    monkeypatch.setattr(sweeps.SweepRun, "state", lambda run: (states[run.id], 5))
    fake = Fake(0)
    outcome, _ = outcome_of(sweep, fake)
    assert fake.asked == [runs[2].config.seed]
    assert outcome.elsewhere == [runs[1].id]
    assert outcome.exit_code == 0


def test_who_was_faster_keeps_the_run(sweep, monkeypatch):
    monkeypatch.setattr(sweep_running, "_holder", lambda run: "process 7 on other")
    outcome, said = outcome_of(sweep, Fake(2, 2, 0))
    assert (len(outcome.elsewhere), len(outcome.done), outcome.failed) == (2, 1, {})
    assert len([line for line in said if "left to it" in line]) == 2


@pytest.mark.parametrize("code", [2, 75])
def test_who_was_faster_may_have_ended_before_it_is_looked_for(sweep, monkeypatch, code):
    runs, _ = expand(sweep)
    fake = Fake(code, 0, 0)

    def state(run):
        return ("finished" if run.id == runs[0].id and fake.asked else "waiting"), 5

    monkeypatch.setattr(sweeps.SweepRun, "state", state)
    monkeypatch.setattr(sweep_running, "_holder", lambda run: None)
    outcome, _ = outcome_of(sweep, fake)
    assert (outcome.done, outcome.failed) == ([run.id for run in runs], {})  # at the first look
    assert fake.asked == [run.config.seed for run in runs]


@pytest.mark.parametrize("left_behind", ["waiting", "silent"])
def test_what_another_process_had_is_looked_at_again(sweep, monkeypatch, left_behind):
    """The first run was finished by another process meanwhile; who trained the second was killed.

    Its claim is known to be of nobody, or, where its machine went with it, is silent.
    """
    runs, _ = expand(sweep)
    states = dict(zip((run.id for run in runs), ("running", "running", "waiting"), strict=True))
    monkeypatch.setattr(sweeps.SweepRun, "state", lambda run: (states[run.id], 5))
    claims = {"running": "process 7", "silent": "process 7"}
    monkeypatch.setattr(sweep_running, "_holder", lambda run: claims.get(states[run.id]))

    class Meanwhile(Fake):
        def train(self, run):
            states.update({runs[0].id: "finished", runs[1].id: left_behind})
            return super().train(run)

    fake = Meanwhile(0, 0)
    outcome, _ = outcome_of(sweep, fake)
    assert fake.asked == [runs[2].config.seed, runs[1].config.seed]
    assert (sorted(outcome.done), outcome.elsewhere) == (sorted(run.id for run in runs), [])


def test_a_run_that_another_process_had_does_not_fail_by_a_hiccup_of_the_storage(sweep, monkeypatch):
    runs, _ = expand(sweep)
    answers = iter([("running", 5), ("waiting", 5), ("waiting", 5)])

    def state(run):
        if (answer := next(answers, None)) is None:
            raise TransientError("the bucket did not answer")
        return answer

    monkeypatch.setattr(sweeps.SweepRun, "state", state)
    monkeypatch.setattr(sweep_running, "_holder", lambda run: "process 7")
    outcome, said = outcome_of(sweep, Fake(0, 0))
    assert (outcome.elsewhere, len(outcome.done), outcome.failed) == ([runs[0].id], 2, {})
    assert any("the bucket did not answer" in line for line in said)


def test_a_sweep_is_read_or_refused_by_what_is_wrong(tmp_path):
    file = tmp_path / "sweep.py"
    with pytest.raises(ConfigError, match="does not exist"):
        read_sweep(file)
    file.write_text("def config(): pass", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"does not define sweep\(\); it must return a Sweep"):
        read_sweep(file)
    file.write_text("def sweep(): return []", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"sweep\(\) returned list"):
        read_sweep(file)
    wrong: dict[str, Any] = {
        "no runs": {},
        "has no runs": {"a": []},
        "a b": {"a b": [RECIPE]},
        "the name 1; use letters": {1: [RECIPE]},
        "holds a str": {"a": ["x"]},
        r"families is a list; .*families=\{'gpt': runs\}": [RECIPE],
        r"families\['a'\] is a RunConfig; give a list": {"a": RECIPE},
        r"families\['a'\] is a generator; give a list": {"a": (each for each in [RECIPE])},
    }
    for said, families in wrong.items():
        with pytest.raises(ConfigError, match=said):
            Sweep(directory="d", families=families)


def test_a_file_in_the_place_of_a_sweep_is_refused_before_runs_are_listed(tmp_path):
    (tmp_path / "sweep").write_text("mine")
    for folder in (tmp_path, tmp_path / "new", tmp_path / "new" / "sweep"):
        sweeps.check_directory(folder)
    with pytest.raises(ConfigError, match="sweep, is a file; give it another name"):
        sweeps.check_directory(tmp_path / "sweep")


def test_tables_hold_whatever_runs_differ_in():
    import pyarrow.parquet

    rows = [{"run": "a", "loss": 1, "x": None}, {"run": "b", "loss": 2.5, "x": "é, ;\n", "more": True}]
    read = pyarrow.parquet.read_table(io.BytesIO(_parquet(rows))).to_pylist()
    assert read[1] == {"run": "b", "loss": 2.5, "x": "é, ;\n", "more": True}
    assert (read[0]["loss"], read[0]["more"]) == (1.0, None)
    assert [row["x"] for row in csv.DictReader(io.StringIO(_csv(rows).decode(), newline=""))] == [
        "",
        "é, ;\n",
    ]


def test_runs_know_their_size():
    run = sweeps.SweepRun(id="x", family="f", config=dataclasses.replace(RECIPE))
    assert run.count.tokens == 600 * 32 * 64


FILE = """
from t5lite.scaling import sweep_recipe as s

def sweep():
    recipe = s.recipe("configs/pretrain_gpt.py")
    runs = s.ladder(recipe, models=s.constant_aspect(recipe.model, (64, 128)), budgets=[s.Tokens(tokens=1e6)])
    return s.Sweep(directory={directory!r}, families={{"gpt": runs[:1], "wide": runs[1:]}})
"""


def test_the_command_lists_chooses_and_writes_recipes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweeps, "store_identity", contents)
    opened = []

    def open_data(data, **settings):
        opened.append(data)
        return SimpleNamespace(num_examples=10_000)

    monkeypatch.setattr(sweep_epochs, "open_pipeline", open_data)
    file, folder = tmp_path / "sweep.py", tmp_path / "my recipes"
    file.write_text(FILE.format(directory=str(tmp_path / "sweep")), encoding="utf-8")
    assert main(["sweep", str(file), "--list", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [(run["family"], run["state"], run["step"]) for run in runs] == [
        ("gpt", "waiting", 0),
        ("wide", "waiting", 0),
    ]
    assert main(["sweep", str(file), "--list", "--only", runs[1]["run"][:4]]) == 0
    assert len(opened) == 2  # once a command: both are trained on the same
    assert (runs[0]["unique_tokens"], runs[0]["epochs"]) == (640_000, runs[0]["tokens"] / 640_000)
    listed = capsys.readouterr().out
    assert "1 of 1 runs repeat tokens (up to 1.56 epochs)" in listed
    assert runs[1]["run"] in listed
    assert runs[0]["run"] not in listed
    assert main(["sweep", str(file), "--only", "nobody"]) == 2
    assert "--only nobody names no run of the sweep" in capsys.readouterr().err
    assert main(["sweep", str(file), "--only", ""]) == 2
    assert "--only '' names no run of the sweep" in capsys.readouterr().err
    assert main(["sweep", str(file), "--only", "wide", "--write-recipes", str(folder)]) == 0
    written = folder / f"{runs[1]['run']}.json"
    config = run_config.load(written)
    (line,) = capsys.readouterr().out.splitlines()
    *_, option, launched, _, name = shlex.split(line)
    assert (option, launched) == ("--config", str(written))
    assert Job(name=name, config=config, max_restarts=0).name.endswith(runs[1]["run"])
    assert count_run(config).params == runs[1]["params"]
    assert config.run_dir.endswith(f"sweep/runs/{runs[1]['run']}")
    monkeypatch.setattr(multihost, "joined_cluster", lambda: "Slurm")
    assert main(["sweep", str(file)]) == 2
    assert "one of several processes of a Slurm run" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()
    assert main(["sweep"]) == 2
    assert "give the file of a sweep" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [[], ["--list"], ["--write-recipes"]])
def test_a_sweep_has_a_directory_of_its_own_in_a_bucket_that_is_there(mode, gcs, tmp_path, capsys):
    folder = place(f"{gcs}/sweeps{len(mode and mode[0])}")
    (folder / "object").write_text("precious")
    (folder / "run é" / "model.json").write_text("{}")
    before, file = folder.sizes(), tmp_path / "sweep.py"
    words = ["sweep", str(file), *mode, *([str(folder / "recipes")] if "--write-recipes" in mode else [])]
    for directory, said in {
        "gs://no-such-bucket/sweep": "there is no bucket gs://no-such-bucket",
        str(folder / "object"): "is a file",
        str(folder / "run é"): f"is that of a run; give one of its own, such as {folder / 'sweep'}",
    }.items():
        file.write_text(FILE.format(directory=directory), encoding="utf-8")
        assert main(words) == 2
        assert said in capsys.readouterr().err
    file.write_text(FILE.format(directory=str(folder / "new")), encoding="utf-8")
    assert main(["sweep", str(file), "--write-recipes", str(folder / "object")]) == 2
    assert "is a file" in capsys.readouterr().err
    assert folder.sizes() == before


def test_a_signal_is_handed_on_unless_it_is_ignored():
    class Child:
        got: ClassVar[list[int]] = []

        def send_signal(self, number):
            self.got.append(number)

    processes, child = Processes(), Child()
    processes._child = cast("Any", child)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with processes.signals():
            signal.raise_signal(signal.SIGHUP)
            assert processes.stopped_by is None
            signal.raise_signal(signal.SIGTERM)
            assert (processes.stopped_by, child.got) == (signal.SIGTERM, [signal.SIGTERM])
            signal.raise_signal(signal.SIGINT)  # which the terminal gives to the run itself
            assert (processes.stopped_by, child.got) == (signal.SIGINT, [signal.SIGTERM])
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_after_a_signal_nothing_is_started_and_one_that_is_being_started_gets_it(monkeypatch):
    processes, got = Processes(), []

    class Child:
        def send_signal(self, number):
            got.append(number)

        def wait(self):
            return -got[-1]

    def start(words):
        signal.raise_signal(signal.SIGTERM)
        return Child()

    monkeypatch.setattr(sweep_running.subprocess, "Popen", start)
    with processes.signals():
        assert processes.run(["train"]) == 143
        assert (got, processes.stopped_by) == ([signal.SIGTERM], signal.SIGTERM)
        assert processes.run(["train"]) == 143
    assert got == [signal.SIGTERM]


def test_a_hiccup_of_the_storage_ends_no_sweep(sweep):
    runs, _ = expand(sweep)
    failing, said = iter((TransientError("the bucket did not answer"), None, None)), []

    def finished(run):
        if (error := next(failing)) is not None:
            raise error

    outcome = run_all(runs, Fake(0, 0, 0), evaluate=False, say=said.append, finished=finished)
    assert (len(outcome.done), outcome.exit_code) == (2, 75)
    assert any("the bucket did not answer" in line for line in said)


def test_the_table_is_written_of_the_runs_that_can_be_read(sweep, tmp_path, monkeypatch):
    runs, _ = expand(sweep)

    def state(run):
        if run.config.seed == 1:
            raise TransientError("the bucket did not answer")
        return "finished", 600

    monkeypatch.setattr(sweeps.SweepRun, "state", state)
    monkeypatch.setattr(sweep_table, "_row", lambda folder, run, found, epochs: {"run": run.id})
    monkeypatch.setattr(sweep_table, "_curve", lambda run, found: [])
    folder = tmp_path / "sweep"
    (folder / "finished").mkdir(parents=True)
    for run in runs:
        (folder / "finished" / f"{run.id}.json").write_text("{}")
    (said,) = write_tables(folder, runs, Epochs())
    assert said.endswith("is left out of the tables: the bucket did not answer")
    rows = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text(), newline="")))
    assert [row["config.seed"] for row in rows] == ["0", "2"]


def test_what_another_process_finishes_while_the_table_is_written_is_in_it(sweep, tmp_path, monkeypatch):
    runs, _ = expand(sweep)
    folder = tmp_path / "sweep"
    (folder / "finished").mkdir(parents=True)

    def note(run):
        (folder / "finished" / f"{run.id}.json").write_text("{}")

    def write(path, content):
        path.write_bytes(content)
        note(runs[1])

    note(runs[0])
    monkeypatch.setattr(sweeps.SweepRun, "state", lambda run: ("finished", 600))
    monkeypatch.setattr(sweep_table, "_row", lambda folder, run, found, epochs: {"run": run.id})
    monkeypatch.setattr(sweep_table, "_curve", lambda run, found: [])
    monkeypatch.setattr(sweep_table, "write_bytes", write)
    assert write_tables(folder, runs, Epochs()) == []
    rows = csv.DictReader(io.StringIO((folder / "table.csv").read_text(), newline=""))
    assert [row["run"] for row in rows] == [runs[0].id, runs[1].id]


def test_a_run_that_failed_is_not_taken_for_one_that_another_process_has(sweep, monkeypatch):
    """Where nothing tells processes apart, the claim of one that is gone looks as if it lived."""
    monkeypatch.setattr(sweep_running, "_holder", lambda run: "process 7 on this machine")
    outcome, _ = outcome_of(sweep, Fake(4, 3, 0))
    assert (sorted(outcome.failed.values()), outcome.elsewhere) == ([3, 4], [])


def test_a_process_ends_with_its_code_or_that_of_its_signal(monkeypatch):
    real, processes = subprocess.Popen, Processes()
    monkeypatch.setattr(sweep_running.subprocess, "Popen", lambda words: real(["/bin/sh", "-c", words[-1]]))
    assert processes.run(["exit 3"]) == 3
    assert processes.run(["kill -9 $$"]) == 137
