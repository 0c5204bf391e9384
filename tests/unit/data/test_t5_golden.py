"""What ``t5.data.preprocessors`` made of the same masks; benchmarks/t5_oracle.py wrote it down."""

import json
from pathlib import Path

import numpy as np
import pytest

from t5lite.data.indexed_random import derive_key
from t5lite.data.objectives.iid_denoising import IidDenoising
from t5lite.data.objectives.sentinels import corrupt
from t5lite.data.objectives.span_corruption import SpanCorruption

GOLDEN = json.loads((Path(__file__).parent / "t5_golden.json").read_text(encoding="utf-8"))
SENTINELS = np.arange(32_099, 31_999, -1)


def row(sides, number):
    return [
        sides.inputs_BM[number, : sides.inputs_lengths_B[number]].tolist(),
        sides.targets_BL[number, : sides.targets_lengths_B[number]].tolist(),
    ]


@pytest.mark.parametrize("case", GOLDEN["masks"], ids=lambda case: case["kind"])
def test_given_the_same_mask_inputs_and_targets_are_those_of_t5(case):
    tokens, mask = np.array([case["tokens"]]), np.array([case["mask"]])
    assert row(corrupt(tokens, mask, sentinel_ids=SENTINELS), 0) == case["t5"]
    together = corrupt(np.repeat(tokens, 2, axis=0), np.concatenate([~mask, mask]), sentinel_ids=SENTINELS)
    assert row(together, 1) == case["t5"]


def test_lengths_are_those_of_t5():
    for entry in GOLDEN["lengths"]:
        objective = SpanCorruption(
            noise_density=entry["noise_density"], mean_span_length=entry["mean_span_length"]
        )
        assert list(objective.chunk_length(entry["inputs_length"])) == entry["t5"]


@pytest.mark.parametrize("kind", [kind for kind in GOLDEN["span_lengths"] if kind != "prefix LM"])
def test_span_lengths_are_distributed_as_those_of_t5(kind):
    name, *values = kind.split()
    objective = IidDenoising()
    if name != "iid":
        density, span = map(float, values)
        roll = name == "rolled"
        objective = SpanCorruption(noise_density=density, mean_span_length=span, random_roll=roll)
    masks = objective.noise_mask(568, key=derive_key(1, "noise"), indices=np.arange(GOLDEN["draws"]))
    edges = np.diff(np.pad(masks, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lengths = np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]
    expected = np.array(GOLDEN["span_lengths"][kind])
    found = np.bincount(lengths, minlength=len(expected))[: len(expected)]
    common = expected >= 20
    statistic = ((found - expected)[common] ** 2 / (found + expected)[common]).sum()
    assert statistic < common.sum() + 5 * np.sqrt(2 * common.sum())
    assert found.sum() == pytest.approx(expected.sum(), rel=0.01)
