"""A run is planned once: by its leader, from one reading of each file, for all processes."""

import json
import shutil
from collections import Counter
from pathlib import Path

import jax
import orbax.checkpoint as ocp
import pytest

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.core import strict_json
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.pipeline import PairsDataConfig
from t5lite.data.position import DataPosition
from t5lite.data.prepare import write_pair_store
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.models.config import EncoderOnlyConfig
from t5lite.optim import AdamWConfig, Constant
from t5lite.run_config import RunConfig
from t5lite.run_origins import ContinueFrom, InitializeFrom
from t5lite.runner.beginning import Run, Start
from t5lite.runner.preparation import prepare_start
from t5lite.runner.resumption import metadata_of
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.run_files import write_files
from t5lite.training.config import TrainingConfig
from t5lite.training.phases import Phases
from tests.process_threads import in_processes

STEPS = (1, 2)
GOING_ON = ("resumed", "continued")
"""Starts from a checkpoint, the run's own or another's."""


def config(run: Path, **fields) -> RunConfig:
    return RunConfig(
        run_dir=str(run),
        model=EncoderOnlyConfig(
            vocab_size=384, embed_dim=8, mlp_dim=8, head_dim=4, num_heads=2, num_layers=1,
            head="sequence_classification", num_labels=2,
        ),
        data=PairsDataConfig(store=str(run.parent / "store"), inputs_length=8),
        optimizer=AdamWConfig(),
        schedule=Constant(),
        training=TrainingConfig(total_steps=4, batch_size=2),
        **fields,
    )  # fmt: skip


def started(start: str, run: Path) -> RunConfig:
    origins = {
        "initialized": {"initialize_from": InitializeFrom(run=str(run))},
        "continued": {"continue_from": ContinueFrom(run=str(run), step=STEPS[-1])},
    }
    return config(run if start == "resumed" else run.with_name("begun"), **origins.get(start, {}))


def planned(config: RunConfig) -> tuple[Run, Start]:
    return prepare_start(config, Phases(), (), lambda found: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of two steps, whose classes do not stand in the order of the store."""
    directory = RunDirectory.at(tmp_path_factory.mktemp("planned") / "run")
    write_pair_store([("a", "no"), ("b", "yes")] * 4, ByteVocabulary(), Path(directory.path).parent / "store")
    run, start = planned(config(Path(directory.path)))
    write_files(run)
    assert run.pipeline.classes is not None
    texts, tokens = run.pipeline.classes.texts, run.pipeline.classes.tokens
    directory.write_classes(LabelClasses(texts[::-1], tokens[::-1]))
    metadata = metadata_of(run.config, run.pipeline, run.contents, None)
    with Checkpoints(directory.checkpoints, CheckpointConfig()) as checkpoints:
        for step in STEPS:
            position = DataPosition().after(step, batch_size=2)
            checkpoints.save(step, start.state, {**metadata, **position.to_json()})
    entries = [{"kind": "eval", "step": step, "loss": 1.0, "evaluation": "heldout"} for step in STEPS]
    (Path(directory.path) / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in entries))
    return Path(directory.path)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained.parent / "store", tmp_path / "store")
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def reads(monkeypatch) -> Counter[tuple[int, str]]:
    """How often each process read a small file or listed checkpoints; only the leader sees the newest."""
    counts: Counter[tuple[int, str]] = Counter()
    read_at_most, checkpoint_steps = strict_json.read_at_most, ocp.utils.checkpoint_steps

    def read(path, limit):
        counts[jax.process_index(), str(path)] += 1
        return read_at_most(path, limit)

    def listed(directory):
        counts[jax.process_index(), str(directory)] += 1
        steps = list(checkpoint_steps(directory))
        return steps if jax.process_index() == 0 else steps[:-1]

    monkeypatch.setattr(strict_json, "read_at_most", read)
    monkeypatch.setattr(ocp.utils, "checkpoint_steps", listed)
    return counts


@pytest.mark.parametrize("start", ["anew", "resumed", "initialized", "continued"])
def test_each_file_is_read_once_and_checkpoints_are_listed_once(start, run, reads):
    begun = run.with_name("begun")
    of_run, begins = planned(started(start, run))
    read = {str(Path(path).relative_to(run)): count for (_, path), count in reads.items() if str(run) in path}
    once = {"checkpoints", "model.json", "classes.json", "config.json"}
    assert read == dict.fromkeys(set() if start == "anew" else once, 1)
    assert of_run.plan.step == (2 if start in GOING_ON else 0)
    assert (begins.report is not None) == (start == "initialized")
    assert not begun.exists()


@pytest.mark.parametrize("start", ["resumed", "initialized", "continued"])
@pytest.mark.parametrize("is_imported", [True, False, None])
def test_where_a_model_comes_from_is_passed_on(start, is_imported, run):
    """What an older run does not say of its source is not known; one without a source began here."""
    file = RunDirectory.at(run).model_file
    assert json.loads(file.read_text())["is_imported"] is False
    file.write_text(json.dumps(json.loads(file.read_text()) | {"is_imported": is_imported}))
    one, _ = planned(started(start, run))
    expected = False if start in GOING_ON and is_imported is None else is_imported
    assert one.plan.is_imported is expected
    write_files(one)
    assert one.directory.read_model_file().is_imported is expected


@pytest.mark.fault(
    "a shared disk shows a process of a run later than its leader what was written",
    "all train what the leader has planned, which alone reads the directory",
    0,
)
@pytest.mark.parametrize("start", ["resumed", "initialized", "continued"])
def test_a_process_that_sees_an_older_directory_trains_what_the_leader_plans(start, run, reads, monkeypatch):
    read_classes = RunDirectory.read_classes
    monkeypatch.setattr(
        RunDirectory,
        "read_classes",
        lambda directory: read_classes(directory) if jax.process_index() == 0 else None,
    )
    one = started(start, run)
    leader, other = in_processes(2, lambda _: planned(one))
    assert leader[0].plan == other[0].plan
    assert leader[0].pipeline.classes == other[0].pipeline.classes
    assert leader[0].pipeline.classes.texts == ("yes", "no")
    assert leader[1].origin == other[1].origin
    assert len(leader[0].plan.evaluations) == (2 if start in GOING_ON else 0)
    assert {process for process, path in reads if str(run) in path} == {0}
