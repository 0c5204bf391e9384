import dataclasses
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from absl import logging as absl_logging

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.partial import restore_params
from t5lite.checkpointing.reading import resolve_step
from t5lite.core.errors import CheckpointError, ConfigError, NumbersError


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    step: jax.Array
    params: dict
    opt_state: tuple


def make_state(step: int, *, embed: int = 8) -> State:
    keys = jax.random.split(jax.random.key(step), 3)
    params = {
        "embedding": jax.random.normal(keys[0], (32, embed)),
        "encoder": {"layers": {"wi": jax.random.normal(keys[1], (2, embed, 16))}},
    }
    moments = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    return State(step=jnp.int32(step), params=params, opt_state=(jnp.int32(step), {"mu": moments}))


def abstract(tree, dtype=None):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def leaf(x):
        to = dtype if dtype is not None and x.dtype == jnp.float32 else x.dtype
        return jax.ShapeDtypeStruct(x.shape, to, sharding=sharding)

    return jax.tree.map(leaf, tree)


def assert_bitwise(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def save_steps(directory: Path, steps, **config):
    with Checkpoints(directory, CheckpointConfig(**config)) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), {"step": step})


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_state_that_is_not_finite_is_not_saved_and_pushes_nothing_out(value, tmp_path):
    save_steps(tmp_path, [1, 2], keep_last=1)
    bad = make_state(3)
    bad.params["encoder"]["layers"]["wi"] = bad.params["encoder"]["layers"]["wi"].at[1, 2, 3].set(value)
    bad.opt_state[1]["mu"]["embedding"] = bad.opt_state[1]["mu"]["embedding"].at[0, 0].set(value)
    message = (
        r"step 3 is not saved: 2 of its 6 arrays hold NaN or infinity \(opt_state\.1\.mu\.embedding, "
        r"params\.encoder\.layers\.wi\); earlier checkpoints are as they were; .* lower the learning rate"
    )
    with Checkpoints(tmp_path, CheckpointConfig(keep_last=1)) as checkpoints:
        with pytest.raises(NumbersError, match=message):
            checkpoints.save(3, bad, {})
        assert checkpoints.latest_step() == 2
        assert_bitwise(checkpoints.restore(abstract(make_state(2))), make_state(2))


def step_names(directory: Path) -> list[int]:
    return sorted(int(p.name) for p in directory.iterdir() if p.name.isdigit())


def test_restores_state_and_metadata_bitwise(tmp_path):
    metadata = {"config": {"model": {"embed_dim": 8}, "name": None, "text": "añ\n"}}
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.latest_step() is None
        assert checkpoints.save(7, make_state(7), metadata)
        restored = checkpoints.restore(abstract(make_state(0)))
        assert checkpoints.latest_step() == 7
        assert checkpoints.metadata() == metadata
    assert_bitwise(restored, make_state(7))


def test_a_save_survives_donation_of_its_state(tmp_path):
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    state = jax.tree.map(jnp.copy, make_state(1))
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(1, state, {})
        for _ in range(3):
            state = overwrite(state)
        assert_bitwise(checkpoints.restore(abstract(make_state(0))), make_state(1))


def test_keeps_the_last_and_every_nth(tmp_path):
    save_steps(tmp_path, range(1, 10), save_every_steps=1, keep_last=2, keep_every_steps=4)
    assert step_names(tmp_path) == [4, 8, 9]


def test_saving_a_step_twice_is_harmless(tmp_path):
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.save(3, make_state(3), {"first": True})
        assert not checkpoints.save(3, make_state(4), {"first": False})
        assert checkpoints.metadata(3) == {"first": True}
        assert_bitwise(checkpoints.restore(abstract(make_state(0))), make_state(3))


def test_unfinished_saves_are_not_seen_and_gone_after_the_next_save(tmp_path):
    save_steps(tmp_path, [5])
    (tmp_path / "6.orbax-checkpoint-tmp-0").mkdir()
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        assert checkpoints.latest_step() == 5
        checkpoints.save(7, make_state(7), {})
    assert {path.name for path in tmp_path.iterdir()} == {"5", "7"}


def test_parameters_alone_in_another_dtype_with_a_report(tmp_path):
    save_steps(tmp_path, [2, 4])
    params, report = restore_params(tmp_path, abstract(make_state(0).params, jnp.bfloat16), 2)
    expected = jax.tree.map(lambda p: p.astype(jnp.bfloat16), make_state(2).params)
    assert_bitwise(params, expected)
    assert report.step == 2
    assert {(leaf.name, leaf.shape, leaf.dtype) for leaf in report.leaves} == {
        ("embedding", (32, 8), "bfloat16"),
        ("encoder.layers.wi", (2, 8, 16), "bfloat16"),
    }
    assert "encoder.layers.wi (2, 8, 16) bfloat16" in str(report)


def test_a_checkpoint_of_another_model_is_refused_leaf_by_leaf(tmp_path):
    save_steps(tmp_path, [1])
    other = make_state(0, embed=4)
    other.params["decoder"] = jnp.zeros(3)
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints, pytest.raises(CheckpointError) as error:
        checkpoints.restore(abstract(other))
    message = str(error.value)
    assert "params.embedding: (32, 8) vs (32, 4)" in message
    assert "params.decoder: missing vs (3,)" in message
    assert "\n" not in message


def test_what_to_do_about_another_state_of_the_optimizer_alone(tmp_path):
    """As another version's, which kept other moments of an adapter: its configuration is the same."""
    save_steps(tmp_path, [1])
    other = dataclasses.replace(make_state(0), opt_state=(jnp.int32(0), {"nu": jnp.zeros(3)}))
    with (
        Checkpoints(tmp_path, CheckpointConfig()) as checkpoints,
        pytest.raises(CheckpointError, match=r"kept other state .* run_dir by --initialize-from\.run"),
    ):
        checkpoints.restore(abstract(other))


@pytest.mark.parametrize("change", ["superfluous", "missing"])
def test_parameters_must_match_one_to_one(tmp_path, change):
    save_steps(tmp_path, [1])
    wanted = make_state(0).params
    if change == "superfluous":
        del wanted["encoder"]
        expected = r"params.encoder.layers.wi: \(2, 8, 16\) vs missing"
    else:
        wanted["logits"] = jnp.zeros((8, 32))
        expected = r"params.logits: missing vs \(8, 32\)"
    with pytest.raises(CheckpointError, match=expected):
        restore_params(tmp_path, abstract(wanted))


def test_what_a_checkpoint_lacks_is_initialised_where_that_is_allowed_and_both_lists_are_exact(tmp_path):
    save_steps(tmp_path, [1])
    saved = make_state(1).params
    wanted = {"embedding": saved["embedding"], "head": {"bias": jnp.zeros(3), "kernel": jnp.zeros((8, 3))}}
    asked = []

    def initialize(names):
        asked.extend(names)
        return {"head.bias": jnp.ones(3), "head.kernel": jnp.full((8, 3), 2.0)}

    params, report = restore_params(tmp_path, abstract(wanted), initialize=initialize)
    assert asked == ["head.bias", "head.kernel"]
    head = {"bias": jnp.ones(3), "kernel": jnp.full((8, 3), 2.0)}
    assert_bitwise(params, {"embedding": saved["embedding"], "head": head})
    assert str(report).splitlines() == [
        f"parameters of step 1 from {tmp_path} (1 arrays):",
        "  embedding (32, 8) float32",
        "new, not taken from that checkpoint (2 arrays):",
        "  head.bias (3,) float32",
        "  head.kernel (8, 3) float32",
        "left there, not in this model (1 arrays):",
        "  encoder.layers.wi (2, 8, 16)",
    ]
    wanted["embedding"] = jnp.zeros((32, 4))
    with pytest.raises(CheckpointError, match=r"params\.embedding: \(32, 8\) vs \(32, 4\)"):
        restore_params(tmp_path, abstract(wanted), initialize=initialize)


def test_missing_directories_and_steps_name_what_is_there(tmp_path):
    params = abstract(make_state(0).params)
    with pytest.raises(CheckpointError, match="no finished checkpoint"):
        restore_params(tmp_path / "nowhere", params)
    assert not (tmp_path / "nowhere").exists()
    save_steps(tmp_path, [5, 6])
    with pytest.raises(CheckpointError, match="no checkpoint of step 9; available: 5, 6"):
        resolve_step(tmp_path, 9)
    with pytest.raises(CheckpointError, match="9 was removed while it was read; available: 5, 6"):
        restore_params(tmp_path, params, 9)


def truncate(step_directory: Path):
    largest = max((step_directory / "state").rglob("d/*"), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:50])


def flip_bits(step_directory: Path):
    largest = max((step_directory / "state").rglob("d/*"), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(bytes(content))


def delete_data(step_directory: Path):
    for path in (step_directory / "state").rglob("d/*"):
        path.unlink()


def delete_names(step_directory: Path):
    (step_directory / "state" / "_METADATA").unlink()


@pytest.mark.parametrize("damage", [truncate, flip_bits, delete_data, delete_names])
def test_damage_is_refused_with_the_remedy(tmp_path, damage):
    save_steps(tmp_path, [5, 6])
    damage(tmp_path / "6")
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        with pytest.raises(
            CheckpointError, match=r"6 cannot be read.*go back to step 5 \(--step, of train --from-step\)"
        ):
            checkpoints.restore(abstract(make_state(0)))
        assert_bitwise(checkpoints.restore(abstract(make_state(0)), 5), make_state(5))


def printed_after(operation, capsys, caplog) -> str:
    """What reaches the user of failures outside of Orbax, and of those of its tasks, after ``operation``."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: print("unraisable:", unraisable.exc_value)
    try:
        operation()
        for name in ("ours", str(Path(ocp.__file__).parent / "serialization.py")):
            code = compile("raise ValueError(filename)", name, "exec")
            try:
                exec(code, {"filename": Path(name).name})
            except ValueError as error:
                sys.unraisablehook(SimpleNamespace(exc_value=error, exc_traceback=error.__traceback__))
            logging.getLogger("asyncio").error("Task was destroyed: coro=<read() at %s>", name)
    finally:
        sys.unraisablehook = hook
    return capsys.readouterr().out + caplog.text


def test_only_orbax_is_silenced_and_only_after_a_failure(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("asyncio"), "filters", [])  # of failures in other tests
    save_steps(tmp_path, [5, 6])
    delete_data(tmp_path / "6")

    def fail():
        with pytest.raises(CheckpointError, match="cannot be read"):
            restore_params(tmp_path, abstract(make_state(0).params), 6)

    def succeed():
        restore_params(tmp_path, abstract(make_state(0).params), 5)

    verbosity = absl_logging.get_verbosity()
    printed = printed_after(succeed, capsys, caplog)
    assert printed.count("serialization.py") == 2
    caplog.clear()
    printed = printed_after(fail, capsys, caplog)
    assert "unraisable: ours" in printed
    assert "read() at ours" in printed
    assert "serialization.py" not in printed
    assert absl_logging.get_verbosity() == verbosity


def test_damaged_metadata_is_refused(tmp_path):
    save_steps(tmp_path, [6])
    (tmp_path / "6" / "metadata" / "metadata").write_text("{")
    with (
        Checkpoints(tmp_path, CheckpointConfig()) as checkpoints,
        pytest.raises(CheckpointError, match="start over"),
    ):
        checkpoints.metadata()


@pytest.mark.parametrize(
    "wrong", [{"save_every_steps": 0}, {"keep_last": 0}, {"save_every_steps": 100, "keep_every_steps": 150}]
)
def test_wrong_configuration_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(reversed(wrong))):
        CheckpointConfig(**wrong)
