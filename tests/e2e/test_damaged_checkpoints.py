"""A run whose newest checkpoint is damaged goes on from an older one, and ends where it would have ended."""

import re
import shutil
from pathlib import Path

import pytest

from t5lite.checkpointing.partial import restore_params
from t5lite.cli.main import main
from t5lite.models.functional import build
from t5lite.runner.run_directory import RunDirectory
from tests.e2e.conftest import contents
from tests.e2e.test_bad_input_training import damage_cut, damage_flipped_bit
from tests.e2e.test_interruptions import _content, _flat


def parameters(run: Path, step: int) -> dict[str, bytes]:
    directory = RunDirectory.at(run)
    model = build(directory.read_model()[0])
    tree = restore_params(directory.checkpoints, model.abstract_params, step)[0]
    return {name: value.tobytes() for name, value in _flat(tree).items()}


@pytest.mark.slow
@pytest.mark.fault(
    "the newest checkpoint is truncated, half-copied, has a flipped bit or a newer format",
    "named; the run goes on from the newest that is whole, with the steps lost said; "
    '`checkpoints.on_damage="stop"` ends it',
    "0; 2",
)
@pytest.mark.parametrize("damage", [damage_flipped_bit, damage_cut])
def test_train_goes_on_from_the_newest_checkpoint_that_is_whole(
    damage, train_arguments: list[str], pretrained: Path, run_copy: Path, capfd: pytest.CaptureFixture[str]
):
    damage(run_copy / "checkpoints" / "40")
    assert main([*train_arguments, "--run-dir", str(run_copy)]) == 0
    said = capfd.readouterr().err
    assert re.search(r"note: checkpoint \S+/checkpoints/40 cannot be read: incomplete or damaged \(", said)
    assert "note: going on from step 30, 10 steps are trained again" in said
    assert "resuming from step 30" in said
    assert sorted(path.name for path in (run_copy / "checkpoints").iterdir()) == ["30", "40"]
    assert _content(run_copy) == _content(pretrained)
    assert parameters(run_copy, 40) == parameters(pretrained, 40)


@pytest.mark.fault(
    "a run is killed in its last evaluation", "the state is saved; the next start evaluates", 0
)
def test_a_run_that_was_killed_in_its_last_evaluation_makes_up_for_it(
    train_arguments: list[str], pretrained: Path, run_copy: Path, capfd: pytest.CaptureFixture[str]
):
    metrics = run_copy / "metrics.jsonl"
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:-1]))
    assert _content(run_copy) == _content(pretrained)[:-1]
    for expected in ("resuming from step 40", "is finished: step 40 of"):
        assert main([*train_arguments, "--run-dir", str(run_copy)]) == 0
        assert expected in capfd.readouterr().err
        assert _content(run_copy) == _content(pretrained)


@pytest.mark.fault("all checkpoints are damaged", "refused, nothing is changed", 2)
def test_where_no_checkpoint_is_whole_nothing_is_changed(
    train_arguments: list[str], run_copy: Path, capfd: pytest.CaptureFixture[str]
):
    for step in ("30", "40"):
        shutil.rmtree(run_copy / "checkpoints" / step / "state")
    before = contents(run_copy)
    assert main([*train_arguments, "--run-dir", str(run_copy)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(
        "t5lite train: none of the 2 checkpoints can be read (steps 30, 40); of the newest:"
    )
    assert contents(run_copy) == before
