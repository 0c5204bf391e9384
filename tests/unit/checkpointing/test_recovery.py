"""A run goes on from its newest checkpoint that is whole, and loses nothing by what is not."""

import gc
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.reading import available_steps, read_state, unreadable
from t5lite.checkpointing.recovery import Found, damage_messages, newest_readable, set_aside
from t5lite.core.errors import CheckpointError, DamagedCheckpointError, TransientError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.storage.literal_path import checkpoint_path


def state(step: int) -> dict[str, jax.Array]:
    return {"step": jnp.int32(step), "w": jnp.arange(3000.0) + step}


def abstract(names=("step", "w")) -> dict[str, jax.ShapeDtypeStruct]:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    leaves = {name: state(0)[name] for name in names}
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), leaves)


def save(directory: Path, *steps: int, **config) -> None:
    with Checkpoints(directory, CheckpointConfig(save_every_steps=1, **config)) as checkpoints:
        for step in steps:
            checkpoints.save(step, state(step), {"step": step})


def newest(checkpoints: Checkpoints, abstract_state) -> Found:
    steps = available_steps(checkpoints.directory)

    def read(step: int) -> Any:
        assert checkpoints.metadata(step) == {"step": step}
        return checkpoints.restore(abstract_state, step)

    return newest_readable(steps, read)


def data_files(checkpoint: Path) -> list[Path]:
    return [path for path in (checkpoint / "state").rglob("d/*") if path.is_file()]


def truncated(checkpoint: Path) -> None:
    for path in data_files(checkpoint):
        os.truncate(path, path.stat().st_size // 2)


def one_bit(checkpoint: Path) -> None:
    for path in data_files(checkpoint):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


def half_copied(checkpoint: Path) -> None:
    """As a copy of files by name that was cut off."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    for path in files[len(files) // 2 :]:
        path.unlink()


def empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def of_a_newer_version(checkpoint: Path) -> None:
    """A manifest of OCDBT says its version after the magic number and the length."""
    for path in (checkpoint / "state").rglob("manifest.ocdbt"):
        content = bytearray(path.read_bytes())
        content[12] = 0x7F
        path.write_bytes(content)


def another_number(checkpoint: Path) -> None:
    """In what a checkpoint says of itself, where a run stands in its data, say."""
    path = checkpoint / "metadata" / "metadata"
    path.write_text(path.read_text().replace(f'"step": {checkpoint.name}', '"step": 7'))


def with_a_pipe(checkpoint: Path) -> None:
    """In the place of a file that TensorStore would read, and wait for a writer."""
    path = checkpoint / "state" / "manifest.ocdbt"
    path.unlink()
    os.mkfifo(path)


def of_endless_elements(checkpoint: Path) -> None:
    """TensorStore would make one when it opens the array, and end the process."""
    base = {"driver": "file", "path": f"{checkpoint / 'state'}/"}
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
    described = json.loads(store["w/.zarray"])
    described["dtype"] = [["x", "<f4", [2**40]]]
    store["w/.zarray"] = json.dumps(described).encode()


DAMAGES = [
    *(truncated, one_bit, half_copied, empty, of_a_newer_version),
    *(another_number, with_a_pipe, of_endless_elements),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_that_is_whole_is_found_past_any_damage(damage, tmp_path: Path):
    save(tmp_path, 10, 20, 30, keep_last=3)
    damage(tmp_path / "30")
    before = sorted(tmp_path.rglob("*"))
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        found = newest(checkpoints, abstract())
    assert (found.step, found.damaged) == (20, (30,))
    np.testing.assert_array_equal(found.value["w"], state(20)["w"])
    reason, going_on = damage_messages(found)
    assert "checkpoints/30 cannot be read" in reason.replace(str(tmp_path), "checkpoints")
    assert "go back" not in reason
    assert "going on from step 20, 10 steps are trained again" in going_on
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_set_aside_counts_no_more_and_goes_when_its_step_is_there_again(damage, tmp_path: Path):
    save(tmp_path, 10, 20, 30, keep_last=3)
    damage(tmp_path / "30")
    set_aside(tmp_path, (30,))
    assert available_steps(tmp_path) == [10, 20]
    with Checkpoints(tmp_path, CheckpointConfig(keep_last=1)) as checkpoints:
        checkpoints.save(25, state(25), {})
        checkpoints.wait()
        # The newest that is kept is one that can be read.
        assert available_steps(tmp_path) == [25]
        assert (tmp_path / "30.set-aside").is_dir()
        assert checkpoints.save(30, state(30), {})
    assert [path.name for path in tmp_path.iterdir()] == ["30"]
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        np.testing.assert_array_equal(checkpoints.restore(abstract())["w"], state(30)["w"])


def test_what_was_read_of_a_damaged_checkpoint_is_gone_before_an_older_one_is_read(tmp_path: Path):
    save(tmp_path, 10, 20)
    prints = tmp_path / "20" / "fingerprints" / "metadata"
    prints.write_text(json.dumps({name: value + 1 for name, value in json.loads(prints.read_text()).items()}))
    live = []

    def read(step: int) -> Any:
        live.append(sum(x.nbytes for x in jax.live_arrays()))
        return read_state(tmp_path, step, abstract())

    gc.collect()
    found = newest_readable([10, 20], read)
    assert "the contents changed since the save" in found.reasons[0]
    assert live[1] == live[0]


def test_a_run_that_goes_back_saves_its_later_steps_anew(tmp_path: Path):
    with Checkpoints(tmp_path, CheckpointConfig(keep_last=3)) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(step, state(step), {})
        checkpoints.set_aside_after(10)
        assert checkpoints.latest_step() == 10
        assert checkpoints.save(20, state(21), {})
        checkpoints.wait()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "20", "30.set-aside"]
        np.testing.assert_array_equal(checkpoints.restore(abstract())["w"], state(21)["w"])


def test_where_all_are_damaged_it_says_so_and_nothing_is_changed(tmp_path: Path):
    save(tmp_path, 10, 20, 30, keep_last=3)
    for step, damage in zip((10, 20, 30), DAMAGES[:3], strict=True):
        damage(tmp_path / str(step))
    with (
        Checkpoints(tmp_path, CheckpointConfig()) as checkpoints,
        pytest.raises(CheckpointError, match=r"none of the 3 checkpoints can be read \(steps 10, 20, 30\)"),
    ):
        newest(checkpoints, abstract())
    assert available_steps(tmp_path) == [10, 20, 30]


def test_another_model_is_no_damage(tmp_path: Path):
    save(tmp_path, 10, 20)
    with (
        Checkpoints(tmp_path, CheckpointConfig()) as checkpoints,
        pytest.raises(CheckpointError, match="does not fit the model"),
    ):
        newest(checkpoints, abstract(["step"]))


@pytest.mark.fault(
    "a store does not answer while a checkpoint is read", "ends, and falls back to no older one", 75
)
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("UNAVAILABLE: CURL error: connection reset"), ExitCode.TRANSIENT),
        (ValueError("DEADLINE_EXCEEDED: 30 s"), ExitCode.TRANSIENT),
        (ConnectionResetError("reset"), ExitCode.TRANSIENT),
        (PermissionError(13, "Permission denied"), ExitCode.USER_ERROR),
        (ValueError("PERMISSION_DENIED: 403"), ExitCode.USER_ERROR),
    ],
)
def test_a_store_that_does_not_answer_says_nothing_of_a_checkpoint(error, code, tmp_path: Path):
    """Or an outage of a second would throw away all steps since an older checkpoint."""
    save(tmp_path, 10, 20)

    def read(step: int) -> None:
        raise unreadable(tmp_path, step, error)

    with pytest.raises((TransientError, CheckpointError)) as raised:
        newest_readable([10, 20], read)
    assert not isinstance(raised.value, DamagedCheckpointError)
    assert raised.value.exit_code == code
    assert "20 could not be read" in str(raised.value)


@pytest.mark.slow
def test_in_a_bucket_what_is_set_aside_is_no_checkpoint_and_goes_in_time(bucket: str):
    directory = f"{bucket}/runs/a"
    with Checkpoints(directory, CheckpointConfig(keep_last=3)) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(step, state(step), {})
        checkpoints.set_aside_after(20)
        assert checkpoints.latest_step() == 20
        names = {path.name for path in checkpoint_path(directory).iterdir()}
        assert names == {"10", "20", "30.set-aside"}
        assert checkpoints.save(30, state(31), {})
        checkpoints.wait()
        assert {path.name for path in checkpoint_path(directory).iterdir()} == {"10", "20", "30"}
        np.testing.assert_array_equal(checkpoints.restore(abstract())["w"], state(31)["w"])
