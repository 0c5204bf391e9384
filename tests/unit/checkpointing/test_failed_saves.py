"""A save that fails is noticed, leaves what was there, and the next one succeeds."""

import contextlib
import gc
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint._src.metadata.checkpoint import _MetadataStoreImpl

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints, SaveFailedError
from t5lite.checkpointing.reading import available_steps
from t5lite.core.errors import NumbersError
from t5lite.core.exit_codes import ExitCode
from t5lite.partitioning import multihost


def state(step: int) -> dict[str, jax.Array]:
    return {"step": jnp.int32(step), "w": jax.random.normal(jax.random.key(step), (20_000,))}


def abstract() -> dict[str, jax.ShapeDtypeStruct]:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state(0))


@contextlib.contextmanager
def no_large_files() -> Iterator[None]:
    """The operating system refuses files of more than 20,000 bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def polled(checkpoints: Checkpoints) -> bool:
    """Ask until a save has ended."""
    deadline = time.monotonic() + 60
    while not checkpoints.poll():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return True


@pytest.mark.fault(
    "a save cannot be read back", "removed, and counts as failed; no older one is removed for it", "0; 75"
)
def test_a_save_that_fails_in_the_background_is_noticed_without_waiting_and_the_next_succeeds(tmp_path: Path):
    with Checkpoints(tmp_path, CheckpointConfig(keep_last=1)) as checkpoints:
        assert not checkpoints.poll()
        for step in (10, 20):
            checkpoints.save(step, state(step), {})
            assert polled(checkpoints)
        with no_large_files():
            checkpoints.save(30, state(30), {})
            with pytest.raises(SaveFailedError, match=r"step 30 could not .*File too large") as raised:
                polled(checkpoints)
        assert (raised.value.step, raised.value.exit_code) == (30, ExitCode.TRANSIENT)
        assert not checkpoints.poll()  # it is told once
        # What it wrote is gone, and what was there is not.
        assert [path.name for path in tmp_path.iterdir()] == ["20"]
        assert checkpoints.save(30, state(30), {})
        assert polled(checkpoints)
        assert available_steps(tmp_path) == [30]
        np.testing.assert_array_equal(checkpoints.restore(abstract())["w"], state(30)["w"])


@pytest.mark.parametrize("num_failures", [1, 9])
def test_a_save_fails_once_also_where_only_its_own_times_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_failures: int
):
    """Orbax waits for them in a place of its own, before the one where processes learn what failed."""
    written: list[object] = []

    def refuse_first(self: _MetadataStoreImpl, file_path: Path, metadata: dict[str, Any]) -> None:
        written.append(file_path)
        if len(written) <= num_failures:
            raise OSError(28, "No space left on device")
        write(self, file_path, metadata)

    class Others:
        def begin(self) -> None:
            pass

        def fail(self, error: BaseException) -> None:
            told.append(str(error))

    told: list[str] = []
    write = _MetadataStoreImpl.write
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "_barrier", Others())
        with monkeypatch.context() as patched:
            patched.setattr(_MetadataStoreImpl, "write", refuse_first)
            checkpoints.save(10, state(10), {})
            with pytest.raises(SaveFailedError, match=r"No space left"):
                checkpoints.wait()
        assert told == ["[Errno 28] No space left on device"]
        assert not waiting_for_signals()
        checkpoints.save(20, state(20), {})
        checkpoints.wait()
    assert available_steps(tmp_path) == [20]
    gc.collect()  # what Orbax left, before another test finds it


def waiting_for_signals() -> list[str]:
    """The threads that keep this process from ending, given a moment to end themselves."""
    threads = [each for each in threading.enumerate() if not each.daemon and "_SignalingThread" in repr(each)]
    for thread in threads:
        threading.Thread.join(thread, 5)
    return [thread.name for thread in threads if thread.is_alive()]


def test_a_save_that_cannot_begin_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    def save_20(checkpoints: Checkpoints) -> None:
        checkpoints.save(20, state(20), {})
        checkpoints.wait()

    with Checkpoints(tmp_path, CheckpointConfig(keep_last=1)) as checkpoints:
        checkpoints.save(10, state(10), {})
        checkpoints.wait()
        with monkeypatch.context() as patched:
            patched.setattr("os.mkdir", read_only)
            with pytest.raises(SaveFailedError, match=r"step 20 could not be saved .*Read-only"):
                save_20(checkpoints)
        assert available_steps(tmp_path) == [10]
        assert not waiting_for_signals()
        assert checkpoints.save(20, state(20), {})
    assert available_steps(tmp_path) == [20]
    gc.collect()  # what Orbax left, before another test finds it


def test_a_failed_save_takes_the_place_of_no_other_error(tmp_path: Path):
    """Whoever restarts what is transient must not restart bad numbers for it."""

    def diverge() -> None:
        with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
            checkpoints.save(10, state(10), {})
            raise NumbersError("diverged")

    with no_large_files(), pytest.raises(NumbersError, match="diverged"):
        diverge()


def test_whether_a_step_is_there_is_the_leaders_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A shared disk shows this process late what was written and what was taken away."""
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(10, state(10), {})
        checkpoints.wait()
        monkeypatch.setattr(multihost, "as_the_leader_says", lambda answer: True)
        assert not checkpoints.save(20, state(20), {})
        assert available_steps(tmp_path) == [10]
        monkeypatch.setattr(multihost, "as_the_leader_says", lambda answer: False)
        shutil.rmtree(tmp_path / "10")
        assert checkpoints.save(10, state(10), {})
    assert available_steps(tmp_path) == [10]


def test_old_checkpoints_that_cannot_be_removed_are_told_and_fail_no_save(tmp_path: Path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with Checkpoints(tmp_path, CheckpointConfig(keep_last=1)) as checkpoints:
        checkpoints.save(10, state(10), {})
        checkpoints.wait()
        with monkeypatch.context() as patched:
            patched.setattr("t5lite.checkpointing.manager.remove", refuse)
            checkpoints.save(20, state(20), {})
            checkpoints.wait()
        (note,) = checkpoints.notes
        assert "step 20 is saved, but older checkpoints cannot be removed" in note
        assert available_steps(tmp_path) == [10, 20]
        checkpoints.save(30, state(30), {})
    assert available_steps(tmp_path) == [30]


def test_after_an_error_the_save_under_way_is_waited_for_and_nothing_is_removed(tmp_path: Path):
    """The error may be that another run has taken the directory over, and saves there."""
    another = tmp_path / "40.orbax-checkpoint-tmp-1"

    def lose() -> None:
        with Checkpoints(tmp_path, CheckpointConfig(keep_last=1)) as checkpoints:
            for step in (10, 20):
                checkpoints.save(step, state(step), {})
            another.mkdir()
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        lose()
    assert available_steps(tmp_path) == [10, 20]
    assert another.is_dir()
