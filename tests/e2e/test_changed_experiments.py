"""A run that goes on with other settings or stores: at the next example, or refused with what to do."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from t5lite.checkpointing.reading import read_metadata
from t5lite.cli.main import main
from t5lite.core.errors import ConfigError
from t5lite.data.batch_stream import BatchStream
from t5lite.data.pipeline import open_pipeline
from t5lite.runner.run_directory import RunDirectory
from tests.e2e.conftest import contents
from tests.unit.data.test_hosts import row_hashes


@pytest.mark.slow
def test_another_batch_size_goes_on_at_the_next_example(train_arguments, tmp_path, monkeypatch, capfd):
    seen: list[str] = []
    read = BatchStream.counted_batch

    def recorded(self, start, **options):
        fields, skipped = read(self, start, **options)
        seen.extend(row_hashes(fields))
        return fields, skipped

    monkeypatch.setattr(BatchStream, "counted_batch", recorded)
    run = tmp_path / "run"
    arguments = [*train_arguments, "--run-dir", str(run), "--evaluations", "None"]
    arguments += ["--schedule.warmup-steps", "0", "--schedule.decay-steps", "1", "--training.total-steps"]
    assert main([*arguments, "1"]) == 0
    assert main([*arguments, "2", "--training.batch-size", "16"]) == 0
    said = capfd.readouterr().err
    assert "training.batch_size: 8 → 16" in said
    assert "(the same examples in the same order, learnt otherwise)" in said
    assert main([*arguments, "6", "--training.batch-size", "4"]) == 0
    config = RunDirectory.at(run).read_config()
    stream = open_pipeline(config.data, architecture=config.model.architecture, seed=config.seed)
    assert seen == row_hashes(stream.rows(np.arange(40)))
    assert [read_metadata(run / "checkpoints", step)["examples_seen"] for step in (2, 6)] == [24, 40]
    entries = json.loads((run / "config_history.json").read_text())["entries"]
    assert [(entry["step"], entry["examples_seen"]) for entry in entries] == [(1, 8), (2, 24)]


@pytest.fixture
def go_on(run_copy: Path, capfd, monkeypatch):
    """Go on with the copy of a run; return what is said, and whether all was accepted: nothing is trained."""

    def accepted(*_, **__):
        raise ConfigError("accepted")

    monkeypatch.setattr("t5lite.runner.training.compile_train_step", accepted)
    config = ["--config", str(run_copy / "config.json"), "--run-dir", str(run_copy)]

    def run(*overrides: str) -> tuple[str, bool]:
        capfd.readouterr()
        assert main(["train", *config, "--training.total-steps", "41", *overrides]) == 2
        *before, last = capfd.readouterr().err.strip().splitlines()
        assert last.startswith("t5lite train: ")
        return "\n".join([*before, last]), last == "t5lite train: accepted"

    return run


@pytest.mark.fault(
    "a store's contents are swapped under the same path between two starts",
    "refused with the `--allow-change` that goes on nevertheless",
    2,
)
def test_contents_that_were_swapped_under_the_same_path_are_noticed(
    go_on, run_copy: Path, text_data: Path, tmp_path: Path
):
    store = Path(shutil.copytree(text_data / "train", tmp_path / "store"))
    said, accepted = go_on("--data.store", str(store))  # a copy is the same store
    assert accepted, said
    metadata = run_copy / "checkpoints" / "40" / "metadata" / "metadata"
    content = json.loads(metadata.read_text().replace(str(text_data / "train"), str(store)))
    del content["metadata_crc32"]  # which earlier versions did not write
    metadata.write_text(json.dumps(content))
    shutil.rmtree(store)
    shutil.copytree(text_data / "heldout", store)
    before = contents(run_copy)
    said, accepted = go_on("--data.store", str(store))
    assert not accepted
    assert "goes on from step 40, and would not be the same experiment: data.store: 'contents " in said
    assert "(another experiment: what was learnt so far was learnt from, or for, something else)" in said
    assert contents(run_copy) == before
    flags = said.rpartition(" by ")[2].split()
    assert flags == ["--allow-change", "data.store"]
    said, accepted = go_on("--data.store", str(store), *flags)
    assert accepted, said
    assert "allowed by --allow-change" in said
    (entry,) = json.loads((run_copy / "config_history.json").read_text())["entries"]
    assert ("data.store", True) in {(each["field"], each["allowed"]) for each in entry["changes"]}


@pytest.mark.fault(
    "a run goes on with another seed, length, packing, objective or store",
    "refused with what it would do and the `--allow-change FIELD` that goes on nevertheless",
    2,
)
@pytest.mark.parametrize(
    ("overrides", "flags"),
    [
        (["--data.inputs-length", "24"], "data.inputs_length"),
        (["--data.objective.noise-density", "0.3"], "data.objective.noise_density"),
        (["--seed", "1", "--data.inputs-length", "24"], "data.inputs_length seed"),
    ],
)
def test_what_would_be_another_experiment_needs_leave_that_the_error_names(go_on, overrides, flags):
    said, accepted = go_on(*overrides)
    assert not accepted
    named = said.rpartition(" by ")[2].split()
    assert sorted(named[1::2]) == flags.split()
    said, accepted = go_on(*overrides, *named)
    assert accepted, said


def test_what_changes_no_example_needs_no_leave(go_on):
    said, accepted = go_on(
        *("--schedule.peak", "0.01", "--training.batch-size", "16", "--step.num-microbatches", "2"),
        *("--loader.num-workers", "1", "--partitioning.style", "fsdp", "--checkpoints.save-every-steps", "3"),
    )
    assert accepted, said
    assert "schedule.peak: 0.05 → 0.01" in said
    assert "(the same training)" in said


def test_a_name_that_is_no_field_is_refused(go_on):
    said, accepted = go_on("--allow-change", "sead")
    assert not accepted
    assert "--allow-change sead names no field; did you mean 'seed'?" in said
