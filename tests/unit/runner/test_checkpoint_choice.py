"""Of a checkpoint that one process cannot read, all processes take leave together."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import pytest

from t5lite import run_config
from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.partial import restore_params
from t5lite.checkpointing.reading import unreadable
from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.partitioning.agreed_errors import in_all_or_none
from t5lite.run_config import RunConfig
from t5lite.runner.checkpoint_choice import chosen_average, read_chosen
from t5lite.runner.loading import load_adapter
from t5lite.runner.run_directory import RunDirectory
from tests.process_threads import in_processes

NUM_PROCESSES = 2


@pytest.mark.parametrize("process_without", range(NUM_PROCESSES))
def test_all_take_the_newer_one_where_one_finds_the_newest_removed(tmp_path, process_without, capsys):
    directory = RunDirectory.at(tmp_path)
    (directory.checkpoints / "20").mkdir(parents=True)

    def read(process: int, step: int) -> int:
        def alone() -> int:
            if process == process_without and step == 20:
                (directory.checkpoints / "30").mkdir()
                (directory.checkpoints / "20").rmdir()
                raise unreadable(directory.checkpoints, step, FileNotFoundError("gone"))
            return step

        return in_all_or_none(alone)

    def run(process: int) -> int:
        return read_chosen(directory, "newest", lambda step: read(process, step))

    assert in_processes(NUM_PROCESSES, run) == [30] * NUM_PROCESSES
    assert capsys.readouterr().err.count("step 20 was removed by the run that goes on; taking step 30") == 1


@pytest.mark.parametrize("process_without", range(NUM_PROCESSES))
@pytest.mark.parametrize("initialize", [None, lambda names: {}])
def test_none_goes_on_reading_what_one_does_not_find(tmp_path, process_without, initialize):
    params = {"w": jnp.ones(3)}
    with Checkpoints(tmp_path / "there", CheckpointConfig()) as checkpoints:
        checkpoints.save(1, {"params": params}, {})
    abstract = jax.eval_shape(lambda: params)

    def run(process: int) -> object:
        directory = tmp_path / ("nowhere" if process == process_without else "there")
        return restore_params(directory, abstract, initialize=initialize)

    errors = in_processes(NUM_PROCESSES, run)
    assert [isinstance(error, CheckpointError) for error in errors] == [True] * NUM_PROCESSES


def averaging(measured: Any) -> RunConfig:
    """Return a configuration whose best checkpoint the second of its evaluations says."""
    config = run_config.load(Path(__file__).parents[2] / "e2e" / "tiny_recipe.py")
    heldout = dataclasses.replace(config.evaluations["heldout"], average=measured)
    return dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, ema_decay=0.9),
        evaluations={"other": config.evaluations["heldout"], "heldout": heldout},
        checkpoints=dataclasses.replace(config.checkpoints, best_metric="heldout/loss"),
    )


@pytest.mark.parametrize("measured", [None, "ema"])
def test_best_goes_by_what_was_measured_and_other_steps_by_what_is_asked(measured):
    trained, imported = (
        SimpleNamespace(has_config=True, config=averaging(measured)),
        SimpleNamespace(has_config=False),
    )
    for found, best in ((trained, measured), (imported, None)):
        assert chosen_average(cast(Any, found), "best", None) == best
        for average in (1, 3, "ema"):
            assert chosen_average(cast(Any, found), "best", average) == average
        assert chosen_average(cast(Any, found), "newest", None) is None
        assert chosen_average(cast(Any, found), 7, None) is None


@pytest.mark.parametrize(("measured", "is_said"), [(None, False), ("ema", True)])
def test_an_adapter_alone_goes_by_it_too_and_it_is_said(measured, is_said, tmp_path, capsys):
    model = SimpleNamespace(adaptation=None)
    found = SimpleNamespace(
        has_config=True, config=averaging(measured), model=model, directory=RunDirectory.at(tmp_path)
    )
    with pytest.raises(ConfigError, match="no adapter"):
        load_adapter(cast(Any, found), cast(Any, None), step="best")
    assert ("best was measured with average=ema, which is taken" in capsys.readouterr().err) == is_said
