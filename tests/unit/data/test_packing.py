import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.data.examples import packing, packing_cache
from t5lite.data.examples.packing import plan_packing


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 16), st.integers(1, 9)), min_size=1, max_size=60))
def test_plan_is_a_partition_that_fits_both_sides(lengths):
    inputs, targets = np.array(lengths).T
    plan = plan_packing(inputs, targets, inputs_length=16, targets_length=9)
    assert sorted(plan.members.tolist()) == list(range(len(lengths)))
    rows = [plan.row(index) for index in range(plan.num_rows)]
    assert all(len(row) for row in rows)
    assert sum(len(row) for row in rows) == len(lengths)
    for row in rows:
        assert inputs[row].sum() <= 16
        assert targets[row].sum() <= 9
    np.testing.assert_allclose(plan.inputs_density, inputs.sum() / (16 * plan.num_rows))
    np.testing.assert_allclose(plan.targets_density, targets.sum() / (9 * plan.num_rows))
    again = plan_packing(inputs, targets, inputs_length=16, targets_length=9)
    np.testing.assert_array_equal(again.members, plan.members)


def test_best_fit_finds_the_perfect_packing():
    lengths = np.array([6, 4, 7, 3, 9, 1, 5, 5])
    plan = plan_packing(lengths, np.ones(8, int), inputs_length=10, targets_length=8)
    assert plan.num_rows == 4
    assert plan.inputs_density == 1.0


def test_rows_are_dense_across_blocks_and_mix_the_source():
    generator = np.random.default_rng(0)
    inputs = np.clip(generator.lognormal(3, 0.5, 6000).astype(int), 3, 128)
    plan = plan_packing(inputs, np.ones_like(inputs), inputs_length=128, targets_length=128)
    assert plan.inputs_density > 0.97
    spread = [np.ptp(plan.row(index)) for index in range(plan.num_rows) if len(plan.row(index)) > 2]
    assert np.median(spread) > 1000


def test_targets_limit_rows_too():
    plan = plan_packing(np.ones(6, int), np.full(6, 5), inputs_length=100, targets_length=10)
    assert plan.num_rows == 3


def test_what_does_not_fit_is_a_caller_error():
    with pytest.raises(ValueError, match="fit"):
        plan_packing(np.array([5]), np.array([1]), inputs_length=4, targets_length=4)


def test_many_blocks_are_packed_as_each_by_itself(monkeypatch):
    generator = np.random.default_rng(1)
    inputs, targets = generator.integers(1, 60, (2, 700))
    limits = {"inputs_length": 128, "targets_length": 100}
    monkeypatch.setattr(packing, "_BLOCK", 64)
    together = plan_packing(inputs, targets, **limits)
    monkeypatch.setattr(packing, "_BLOCKS_TOGETHER", 1)
    alone = plan_packing(inputs, targets, **limits)
    np.testing.assert_array_equal(together.members, alone.members)
    np.testing.assert_array_equal(together.row_starts, alone.row_starts)


def test_a_large_plan_is_kept_and_a_damaged_one_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packing_cache, "_WORTH_KEEPING", 10)
    lengths = np.random.default_rng(2).integers(1, 30, 50)
    limits = {"inputs_length": 64, "targets_length": 64}
    planned = packing_cache.kept_plan(lengths, lengths, **limits)
    (file,) = (tmp_path / "t5lite" / "packing").iterdir()
    monkeypatch.setattr(packing_cache, "plan_packing", None)
    kept = packing_cache.kept_plan(lengths, lengths, **limits)
    np.testing.assert_array_equal(kept.members, planned.members)
    np.testing.assert_array_equal(kept.row_starts, planned.row_starts)
    assert (kept.inputs_density, kept.targets_density) == (planned.inputs_density, planned.targets_density)
    monkeypatch.setattr(packing_cache, "plan_packing", plan_packing)
    assert packing_cache.kept_plan(lengths + 1, lengths, **limits).members.size == 50
    assert len(list(file.parent.iterdir())) == 2
    whole = file.read_bytes()
    for content in (b"", whole[:100], b"junk", whole[:-40] + bytes(40), *plans_of_something_else(planned)):
        file.write_bytes(content)
        again = packing_cache.kept_plan(lengths, lengths, **limits)
        np.testing.assert_array_equal(again.members, planned.members)
        np.testing.assert_array_equal(again.row_starts, planned.row_starts)
        assert file.read_bytes() == whole


def plans_of_something_else(plan):
    """Whole files that hold no plan of these examples."""
    fields = {"members": plan.members, "row_starts": plan.row_starts, "densities": np.ones(2)}
    for name, value in [
        ("members", plan.members[:-1]),
        ("members", np.zeros_like(plan.members)),
        ("members", np.array([{}], object)),
        ("row_starts", plan.row_starts[:0]),
        ("row_starts", plan.row_starts[:-1]),
        ("row_starts", plan.row_starts[::-1]),
        ("densities", np.ones(1)),
    ]:
        content = io.BytesIO()
        np.savez(content, **{**fields, name: value})
        yield content.getvalue()


@pytest.mark.parametrize("home", [True, False])
def test_without_a_place_for_a_cache_there_is_none(tmp_path, monkeypatch, home):
    (tmp_path / "t5lite").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path) if home else "")
    if not home:
        monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(packing_cache, "_WORTH_KEEPING", 1)
    plan = packing_cache.kept_plan(np.ones(4, int), np.ones(4, int), inputs_length=2, targets_length=2)
    assert plan.num_rows == 2


def no_home():
    raise RuntimeError("Could not determine home directory.")
