"""The table of re-fitted points in docs/scaling.md says what docs/data/isoflop_refits.json has."""

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
REFITS = json.loads((DOCS / "data/isoflop_refits.json").read_text(encoding="utf-8"))["D exponent"]
ROWS = {
    "Llama 3, loss": "llama_3__raw_loss",
    "the same, exponentiated": "llama_3__exp_loss",
    "Marin, comma": "marin_202603__comma__llama_2",
    "Marin, DCLM": "marin_202603__dclm__llama_2",
    "Marin, Nemotron": "marin_202603__nemotron__llama_2",
    "ml-scalefit's Chinchilla": "ml_scalefit__massivetext__chinchilla",
    "Misfitting, FineWeb and C4": "misfitting__fineweb_c4__transformer",
}
"""Experiments of isoflops.csv by what the page calls them."""


def shown(points: str) -> list[str]:
    """Return the cells of a row: published, then ``isoflop``, ``chinchilla`` and ``projection``."""
    page = (DOCS / "scaling.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {re.escape(points)} \|(.*)\|$", page, re.MULTILINE)
    return [cell.strip() for cell in row.split("|")]


@pytest.mark.parametrize("points", ROWS)
def test_the_page_says_what_was_fitted(points):
    fits = REFITS[ROWS[points]]
    cells = dict(zip(("published", "isoflop", "chinchilla", "projection"), shown(points), strict=True))
    for method in ("isoflop", "chinchilla", "projection"):
        assert cells[method] == "{:.3f} ({:.3f} to {:.3f})".format(*fits[method])


@pytest.mark.parametrize("points", [points for points in ROWS if shown(points)[0]])
def test_the_published_exponent_is_found_again(points):
    published = shown(points)[0]
    exponent, low, high = REFITS[ROWS[points]]["isoflop"]
    # Llama 3's is published with two digits.
    assert float(published) == pytest.approx(exponent, abs=0.001 if len(published) == len("0.572") else 0.01)
    assert low < float(published) < high


def test_all_experiments_are_on_the_page():
    assert set(ROWS.values()) == REFITS.keys()
