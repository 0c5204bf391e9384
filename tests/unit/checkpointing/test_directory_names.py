"""A checkpoint can be read from the directory it was saved to, whatever that is called."""

import os
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from t5lite.checkpointing import manager
from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints, SaveFailedError
from t5lite.checkpointing.reading import available_steps
from t5lite.core.errors import ConfigError
from t5lite.core.storage.literal_path import LiteralPath

CONFIG = CheckpointConfig()
AWKWARD = "[]*?!{}()^- %#~$&;:=+,@'\"`|<>.\n\taé日\u0301"


def state(step: int) -> dict[str, jax.Array]:
    return {"step": jnp.int32(step), "w": jnp.arange(3.0) + step}


def abstract() -> dict[str, jax.ShapeDtypeStruct]:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state(0))


names = st.text(AWKWARD, min_size=1, max_size=20).filter(lambda name: name not in (".", ".."))


@settings(max_examples=6, deadline=None)
@given(names, names)
@example("lr[3e-4]", "[!a]*?")
@example("-[", "100%41#\n\"'")
@example("5.orbax-checkpoint-tmp-0", "[]]")
def test_what_was_saved_in_a_directory_of_any_name_is_resumed_and_read(outer: str, inner: str):
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / outer / inner
        for step in (3, 4):
            with Checkpoints(directory, CONFIG) as checkpoints:
                if step > 3:
                    np.testing.assert_array_equal(checkpoints.restore(abstract())["w"], state(step - 1)["w"])
                checkpoints.save(step, state(step), {"step": step})
        with Checkpoints(directory, CONFIG) as checkpoints:
            restored = checkpoints.restore(abstract())
            assert checkpoints.metadata() == {"step": 4}
        np.testing.assert_array_equal(restored["w"], state(4)["w"])
        assert os.listdir(folder) == [outer]


def test_a_directory_takes_nothing_of_another_that_its_name_would_match(tmp_path: Path):
    for name, step in (("ab", 1), ("a[abc]", 1), ("a*", 1)):
        with Checkpoints(tmp_path / name, CONFIG) as checkpoints:
            checkpoints.save(step, state(len(name)), {})
            np.testing.assert_array_equal(checkpoints.restore(abstract())["w"], state(len(name))["w"])


def test_a_path_stays_literal_in_what_is_made_from_it(tmp_path: Path):
    for path in (LiteralPath(tmp_path) / "[a]" / "b", LiteralPath(tmp_path / "[a]") / "b"):
        path.mkdir(parents=True, exist_ok=True)
        (path / "c1").write_text("")
        assert [found.name for found in path.parent.glob("b*")] == ["b"]
        assert [found.name for found in (path.parent / "b").glob("c?")] == ["c1"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("back\\slash", "backslash"),
        (os.fsdecode(b"caf\xe9"), "not UTF-8"),
        ("/s3/runs", "takes it for the address s3://runs"),
    ],
)
def test_a_directory_that_would_be_mistaken_is_refused_before_anything_is_made(name, message, tmp_path: Path):
    directory = tmp_path / name
    with pytest.raises(ConfigError, match=message) as error:
        available_steps(directory)
    assert str(error.value).isprintable()
    with pytest.raises(ConfigError, match=message):
        Checkpoints(directory, CONFIG)
    assert list(tmp_path.iterdir()) == []


def lose_the_index(directory: Path) -> None:
    (directory / "state" / "manifest.ocdbt").unlink(missing_ok=True)


def lose_an_array(directory: Path) -> None:
    metadata = directory / "state" / "_METADATA"
    metadata.write_text(metadata.read_text().replace('"w"', '"v"'))


def lose_the_fingerprints(directory: Path) -> None:
    (directory / "fingerprints" / "metadata").write_text("{}")


def lose_the_metadata(directory: Path) -> None:
    (directory / "metadata" / "metadata").unlink(missing_ok=True)


@pytest.mark.parametrize("lose", [lose_the_index, lose_an_array, lose_the_fingerprints, lose_the_metadata])
def test_a_save_that_cannot_be_read_back_is_not_reported_as_done(lose, tmp_path: Path, monkeypatch):
    class LosingManager(manager._Manager):
        def wait_until_finished(self) -> None:
            super().wait_until_finished()
            if (tmp_path / "2").exists():
                lose(tmp_path / "2")

    monkeypatch.setattr(manager, "_Manager", LosingManager)
    with Checkpoints(tmp_path, CheckpointConfig(keep_last=1)) as checkpoints:
        checkpoints.save(1, state(1), {})
        checkpoints.save(2, state(2), {})
        with pytest.raises(SaveFailedError, match=r"step 2 could not be saved .*2 cannot be read: "):
            checkpoints.wait()
        # The one before is removed only when the new one is known to be there.
        np.testing.assert_array_equal(checkpoints.restore(abstract())["w"], state(1)["w"])
        monkeypatch.undo()
        assert checkpoints.save(3, state(3), {})
        checkpoints.wait()
        assert available_steps(tmp_path) == [3]
