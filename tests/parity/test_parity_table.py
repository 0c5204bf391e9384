"""Every model of docs/parity.md, measured again; and the page lists what is measured."""

import re

import numpy as np
import pytest

from benchmarks.parity_cases import CASES
from benchmarks.parity_table import BOUNDS, PAGE, directions, measure, table
from benchmarks.parity_training import TRAINED, losses_of_both

pytestmark = pytest.mark.slow

SLOW_TO_COMPILE = ("T5 1.1", "T5Gemma (unequal pair)", "ModernBertForMaskedLM")
"""Steps of two stacks, or of several kinds of layers."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_error_is_below_its_bound(case, tmp_path):
    result = measure(case, tmp_path)
    assert list(result.errors) == [name for name in directions(case) if name != "training"]
    assert result.spread > 0.3, "outputs that hardly differ would agree by themselves"
    too_large = {name: error for name, error in result.errors.items() if not error <= BOUNDS[name]}
    assert too_large == {}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.name in SLOW_TO_COMPILE else [])
        for case in CASES
        if case.name in TRAINED
    ],
)
def test_training_gives_the_losses_of_torch(case):
    """20 batches from the same weights, through the train step and AdamW of both."""
    ours, theirs = losses_of_both(case)
    assert len(ours) == 20
    assert theirs[-3:].mean() < 0.75 * theirs[0], "nothing was learned"
    np.testing.assert_allclose(ours, theirs, rtol=BOUNDS["training"], atol=0)


def rows_of_the_page():
    """Return the errors of every row by the name of its direction, and its heading."""
    lines = re.findall(r"^\|(.*)\|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    heading, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return heading, {row[0]: dict(zip(heading[1:], row[1:], strict=True)) for row in rows}


def test_the_page_lists_the_models_and_directions_that_are_measured():
    heading, rows = rows_of_the_page()
    empty = table([]).splitlines()[0].split("|")
    assert heading == [cell.strip() for cell in empty[1:-1]]
    assert list(rows) == [case.name for case in CASES]
    for case in CASES:
        shown = [name for name in BOUNDS if rows[case.name][name]]
        assert shown == directions(case), case.name
        for name in shown:
            cell = rows[case.name][name]
            assert (0.0 if cell == "bitwise" else float(cell)) <= BOUNDS[name], (case.name, name)


def test_each_architecture_has_its_gradients_and_its_training_compared():
    for direction in ("gradients", "training"):
        compared = {case.architecture for case in CASES if direction in directions(case)}
        assert compared == {"encoder_decoder", "encoder_only", "decoder_only"}
