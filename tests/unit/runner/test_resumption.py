"""Where a run goes on, by what its checkpoint says, also where an older version saved it."""

import json

import pytest

from t5lite.core.errors import CheckpointError
from t5lite.data.position import DataPosition
from t5lite.runner.resumption import resumption
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot


def saved(tmp_path, metadata, step=20):
    folder = tmp_path / "checkpoints" / str(step) / "metadata"
    folder.mkdir(parents=True)
    (folder / "metadata").write_text(json.dumps(metadata))
    return RunDirectory.at(tmp_path)


def test_the_examples_seen_are_those_that_were_saved(tmp_path):
    metadata = {"config": {"training": {"batch_size": 8}}, "step": 20, "examples_seen": 2**40}
    found = resumption(Snapshot(saved(tmp_path, metadata)), 20)
    assert found.position == DataPosition(2**40)
    assert found.notes == ()


@pytest.mark.fault(
    "a checkpoint was saved by a t5lite that did not count examples", "read, and how is said", 0
)
def test_an_older_checkpoint_counts_its_steps_by_the_batch_size_it_was_saved_with(tmp_path):
    metadata = {"config": {"training": {"batch_size": 8}}, "step": 20}
    found = resumption(Snapshot(saved(tmp_path, metadata)), 20)
    assert found.position == DataPosition(160)
    (note,) = found.notes
    assert note.startswith(
        "the checkpoint of step 20 does not say how many examples it has seen: 20 steps of 8, its batch "
        "size, are 160; "
    )


@pytest.mark.parametrize(
    "metadata",
    [{}, {"config": {}}, {"config": {"training": {"batch_size": "x"}}}, {"examples_seen": -1}],
)
def test_a_checkpoint_that_says_nothing_of_its_data_is_damaged(metadata, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        resumption(Snapshot(saved(tmp_path, metadata)), 20)
