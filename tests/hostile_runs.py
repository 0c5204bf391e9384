"""What t5lite itself writes, to be damaged: the files of a run, its checkpoints, and programs for serving."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from t5lite.checkpointing.lease import LeaseConfig, held_lease, sighting
from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.reading import available_steps, read_metadata, read_state
from t5lite.checkpointing.recovery import newest_readable
from t5lite.core.errors import ReportedError
from t5lite.core.files import write_json
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.mixture_schedule import MixtureHistory
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.interop import stablehlo
from t5lite.run_config import load
from t5lite.runner.config_history import (
    ConfigHistory,
    ConfigHistoryEntry,
    RecordedChange,
    read_config_history,
    write_config_history,
)
from t5lite.runner.rollback import VERSIONS, Rollback, read_rollbacks
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.status import run_status
from t5lite.training.attempts import Attempt, End, PhaseSeconds, to_json
from t5lite.training.metrics_log import MetricsLog
from tests.small_folders import CONFIGS, make_params

_RECIPE = Path(__file__).parent / "e2e" / "tiny_recipe.py"


def write_run(folder: Path) -> None:
    """Write every small file of a run that is read again, as runs write them."""
    directory = RunDirectory.at(folder)
    config = load(_RECIPE)
    directory.write_model(config.model, ByteVocabulary(), execution=config.execution)
    directory.write_config(config)
    directory.write_classes(LabelClasses(texts=("a", "b"), tokens=((5,), (6,))))
    directory.write_mixture(MixtureHistory.elsewhere())
    change = RecordedChange(field="seed", change="seed: 0 → 1", effect="order")
    entry = ConfigHistoryEntry(step=1, examples_seen=8, changes=(change,))
    write_config_history(directory.config_history_file, ConfigHistory(entries=(entry,)))
    rollback = Rollback(
        to_step=1, first_bad_step=2, last_bad_step=3, first_example=9, last_example=24, reason=""
    )
    write_json(directory.rollbacks_file, VERSIONS.stamped({"rollbacks": [dataclasses.asdict(rollback)]}))
    log = MetricsLog(folder, start_step=0)
    for step in range(1, 5):
        log.write("train", step, {"loss": 2.5})
    log.close()
    attempt = Attempt(
        number=1, host="h", pid=1, started=1.0, seconds=PhaseSeconds(), first_step=0, last_step=4,
        num_steps=4, end=End(reason="finished", exit_code=0), found_step=0, num_processes=1, num_devices=1,
        waited_seconds=0.0, job=None,
    )  # fmt: skip
    write_json(folder / "ledger" / "000001.json", to_json(attempt))
    with held_lease(folder, LeaseConfig(), print):
        shutil.copytree(folder / "lease", folder / "kept")
    (folder / "kept").rename(folder / "lease")


def read_run(folder: Path) -> None:
    """Read all of it, whatever one of the readers says."""
    directory = RunDirectory.at(folder)
    errors = []
    for read in (
        directory.read_model,
        directory.read_model_file,
        directory.read_config,
        directory.read_config_values,
        directory.read_classes,
        directory.read_mixture,
        lambda: read_config_history(directory.config_history_file),
        lambda: read_rollbacks(directory),
        lambda: sighting(folder),
        lambda: run_status(str(folder)),
    ):
        try:
            read()
        except ReportedError as error:
            errors.append(error)


def state(step: int) -> Any:
    """Return what is saved as ``step``."""
    return {"params": {"a": jnp.arange(4096.0) + step, "b": jnp.ones((2, 3, 5), jnp.bfloat16)}, "step": step}


def save_checkpoints(folder: Path) -> None:
    """Save two."""
    with Checkpoints(folder, CheckpointConfig()) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, jax.tree.map(jnp.asarray, state(step)), {"step": step})


def save_as_zarr(folder: Path) -> None:
    """Have what Orbax keeps in a database, where checksums keep off most damage, in files of their own."""
    save_checkpoints(folder)
    shutil.rmtree(folder / "2" / "state")
    with ocp.PyTreeCheckpointer(use_ocdbt=False) as checkpointer:
        checkpointer.save(folder.absolute() / "2" / "state", jax.tree.map(jnp.asarray, state(2)))


def read_checkpoint(folder: Path) -> None:
    """Read the newest checkpoint that is whole, which says what was saved."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), sharding=device), state(0)
    )

    def read(step: int) -> Any:
        return read_metadata(folder, step), read_state(folder, step, abstract)

    found = newest_readable(available_steps(folder), read)
    metadata, restored = found.value
    assert metadata["step"] == found.step
    jax.tree.map(np.testing.assert_array_equal, restored, state(found.step))


def resume(folder: Path) -> None:
    """Read one, for one of the two is whole."""
    try:
        read_checkpoint(folder)
    except ReportedError as error:
        raise AssertionError("one of the two is whole") from error


def export_programs(folder: Path) -> None:
    """Write a folder for serving."""
    stablehlo.export_folder(make_params(CONFIGS["gpt2"]), CONFIGS["gpt2"], folder)


def load_programs(folder: Path) -> None:
    """Load it and use it."""
    served = stablehlo.load_exported(folder)
    tokens = np.ones((1, 4), np.int32)
    served("forward", decoder_input_tokens=tokens, decoder_segment_ids=tokens)
