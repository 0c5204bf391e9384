"""Compare the objectives with ``t5.data.preprocessors``, which they follow, in an environment of its own.

    python3.11 -m venv t5env
    t5env/bin/pip install tensorflow-cpu tensorflow-text seqio t5
    PYTHONPATH=. t5env/bin/python benchmarks/t5_oracle.py [--write tests/unit/data/t5_golden.json]

Four comparisons, each printed, and a failure of any is exit code 1:

    lengths        raw tokens and targets that fill an input, over a grid of settings
    given a mask   of t5's own drawing, inputs and targets are identical; and those t5 makes of our masks
    distribution   ours beside t5's: of span lengths (two-sample chi-square), and of the masked share of every
                   eight neighbouring positions (the largest difference, in standard errors)
    speed          microseconds for a chunk of 568 tokens, one thread (t5 draws one chunk at a time)

``--write`` saves masks and outputs of t5, which the unit tests hold t5lite to where t5 is not installed.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import seqio
import tensorflow as tf
from t5.data import preprocessors

from t5lite.data.indexed_random import derive_key
from t5lite.data.objectives.deshuffling import Deshuffling
from t5lite.data.objectives.iid_denoising import IidDenoising
from t5lite.data.objectives.layout import Sides
from t5lite.data.objectives.prefix_lm import PrefixLM
from t5lite.data.objectives.sentinels import corrupt
from t5lite.data.objectives.span_corruption import SpanCorruption
from t5lite.data.vocabulary import ByteVocabulary

VOCABULARY = seqio.PassThroughVocabulary(32_100)
SENTINELS = np.arange(VOCABULARY.vocab_size - 1, VOCABULARY.vocab_size - 101, -1)
KEY = derive_key(0, "noise")
SETTINGS = [(0.15, 3.0), (0.15, 8.0), (0.3, 3.0), (0.5, 3.0), (0.5, 8.0), (0.15, 64.0), (0.5, 64.0)]
NUM_DRAWS = 3000
Mask = Callable[[int, Any], Any]


def t5_span_mask(density: float, span: float, *, random_roll: bool = False) -> Mask:
    """Return t5's mask of random spans, a function of (length, seeds)."""
    return lambda length, seeds: preprocessors.random_spans_noise_mask(
        length, density, seeds, mean_noise_span_length=span, random_roll=random_roll
    )


def t5_iid_mask(length: int, seeds: Any) -> Any:
    """Return t5's mask of coin tosses."""
    return preprocessors.iid_noise_mask(length, 0.15, seeds)


def t5_prefix_mask(length: int, seeds: Any) -> Any:
    """Return t5's mask of a random prefix, the given part masked."""
    return preprocessors.random_prefix_noise_mask(length, 0.5, seeds)


def t5_sides(tokens: np.ndarray, mask: np.ndarray) -> list[list[int]]:
    """Return what t5 makes of a mask, with EOS as seqio's ``append_eos`` puts it."""
    sides = []
    for replace in (
        preprocessors.noise_span_to_unique_sentinel,
        preprocessors.nonnoise_span_to_unique_sentinel,
    ):
        side = replace(tf.constant(tokens, tf.int32), tf.constant(mask), VOCABULARY, seeds=None)
        sides.append([*side.numpy().tolist(), 1])
    return sides


def t5_prefix_sides(tokens: np.ndarray, mask: np.ndarray) -> list[list[int]]:
    """Return t5's prefix and continuation, with EOS."""
    sides = []
    for drop in (preprocessors.drop_nonnoise_tokens, preprocessors.drop_noise_tokens):
        side = drop(tf.constant(tokens, tf.int32), tf.constant(mask), VOCABULARY, seeds=None)
        sides.append([*side.numpy().tolist(), 1])
    return sides


def our_sides(sides: Sides, row: int = 0) -> list[list[int]]:
    """Return a row without its padding."""
    inputs, targets = sides.inputs_BM[row], sides.targets_BL[row]
    inputs_end = None if sides.inputs_lengths_B is None else sides.inputs_lengths_B[row]
    targets_end = None if sides.targets_lengths_B is None else sides.targets_lengths_B[row]
    return [inputs[:inputs_end].tolist(), targets[:targets_end].tolist()]


def seeds(number: int) -> Any:
    """Return seeds as t5's mask functions take them."""
    return tf.constant([[number, 1], [number, 2]], tf.int32)


def lengths() -> Iterator[dict[str, Any]]:
    """Yield t5's lengths and ours over a grid.

    Left out are chunks with less noise than half a span: t5 counts no sentinel there, though its mask has a
    span.
    """
    for density, span in SETTINGS:
        for inputs_length in (64, 114, 128, 256, 512, 1024):
            raw, targets = preprocessors.random_spans_helper(
                inputs_length=inputs_length,
                noise_density=density,
                mean_noise_span_length=span,
                extra_tokens_per_span_inputs=1,
                extra_tokens_per_span_targets=1,
                verbose=False,
            )
            if round(round(raw * density) / span) == 0:
                continue
            found = SpanCorruption(noise_density=density, mean_span_length=span).chunk_length(inputs_length)
            yield {
                "inputs_length": inputs_length,
                "noise_density": density,
                "mean_span_length": span,
                "t5": [raw, targets],
                "ours": list(found),
            }


def given_masks(number: int) -> Iterator[dict[str, Any]]:
    """Yield chunks with a mask of t5's, what t5 makes of it, and whether t5lite makes the same."""
    generator = np.random.default_rng(number)
    kinds: list[tuple[str, int, Mask]] = [
        (f"spans {density} {span:g}", length, t5_span_mask(density, span))
        for density, span in SETTINGS
        for length in (29, 568)
    ]
    rolled = t5_span_mask(0.15, 3.0, random_roll=True)
    kinds += [("rolled 0.15 3", length, rolled) for length in (29, 568)]
    kinds += [("iid", length, t5_iid_mask) for length in (29, 511)]
    for name, length, draw in kinds:
        tokens = generator.integers(3, 32_000, length)
        mask = draw(length, seeds(number)).numpy()
        theirs = t5_sides(tokens, mask)
        ours = our_sides(corrupt(tokens[None], mask[None], sentinel_ids=SENTINELS))
        yield {
            "kind": name,
            "tokens": tokens.tolist(),
            "mask": mask.tolist(),
            "t5": theirs,
            "same": ours == theirs,
        }


def given_our_masks(number: int) -> Iterator[tuple[str, bool]]:
    """Yield whether t5 makes of our masks what the objectives' batch fields hold."""
    vocabulary = _vocabulary()
    index = np.array([number])
    generator = np.random.default_rng(number)
    for density, span in SETTINGS:
        objective = SpanCorruption(noise_density=density, mean_span_length=span)
        layout = objective.layout(256, "encoder_decoder")
        tokens = generator.integers(3, 32_000, (1, layout.tokens))
        fields = objective.fields(tokens, key=KEY, indices=index, vocabulary=vocabulary, layout=layout)
        mask = objective.noise_mask(layout.tokens, key=KEY, indices=index)
        sides = [fields["encoder_input_tokens"][0].tolist(), fields["decoder_target_tokens"][0].tolist()]
        yield f"fields, spans {density} {span:g}", sides == t5_sides(tokens[0], mask[0])
    iid, prefix, shuffle = IidDenoising(), PrefixLM(), Deshuffling()
    for name, objective in (("iid", iid), ("prefix", prefix), ("deshuffling", shuffle)):
        layout = objective.layout(256, "encoder_decoder")
        tokens = generator.integers(3, 32_000, (1, layout.tokens))
        fields = objective.fields(tokens, key=KEY, indices=index, vocabulary=vocabulary, layout=layout)
        sides = [
            fields[tokens_name][0][fields[weights][0] > 0].tolist()
            for tokens_name, weights in (
                ("encoder_input_tokens", "encoder_segment_ids"),
                ("decoder_target_tokens", "decoder_segment_ids"),
            )
            if weights in fields
        ]
        if name == "iid":
            mask = iid.noise_mask(layout.tokens, key=KEY, indices=index)[0]
            yield "fields, iid", sides == t5_sides(tokens[0], mask)
        elif name == "prefix":
            given = prefix.prefix_lengths(layout.tokens, key=KEY, indices=index)[0]
            yield "fields, prefix LM", sides == t5_prefix_sides(tokens[0], np.arange(layout.tokens) < given)
        else:
            inputs, targets = (
                fields[side][0].tolist() for side in ("encoder_input_tokens", "decoder_target_tokens")
            )
            yield (
                "fields, deshuffling",
                targets == [*tokens[0].tolist(), 1] and sorted(inputs) == sorted(targets),
            )


def _vocabulary() -> Any:
    """Return a vocabulary with the ids of T5's, of which the objectives need no more than these."""

    class T5Ids(ByteVocabulary):
        def __init__(self) -> None:
            super().__init__()
            self.size, self.sentinel_ids = VOCABULARY.vocab_size, SENTINELS

    return T5Ids()


def span_lengths(masks: np.ndarray) -> np.ndarray:
    """Return the lengths of the masked spans of bool [B, N]."""
    edges = np.diff(np.pad(masks, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    return np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]


def chi_square(first: np.ndarray, second: np.ndarray) -> tuple[float, int]:
    """Return the two-sample statistic of two histograms, and its degrees of freedom; rare values together."""
    common = first + second >= 40
    pairs = np.array(
        [[*h[common], h[~common].sum()] if not common.all() else h for h in (first, second)], np.float64
    )
    pairs = pairs[:, pairs.sum(axis=0) > 0]
    ratio = np.sqrt(pairs[1].sum() / pairs[0].sum())
    statistic = (((pairs[0] * ratio - pairs[1] / ratio) ** 2) / pairs.sum(axis=0)).sum()
    return float(statistic), pairs.shape[1] - 1


def largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return by how many standard errors the masked shares of eight neighbouring positions differ at most."""
    shares = [masks.reshape(len(masks), -1, 8).mean(axis=2) for masks in (first, second)]
    error = np.sqrt(sum(share.var(axis=0) / len(share) for share in shares))
    return float((np.abs(shares[0].mean(axis=0) - shares[1].mean(axis=0)) / np.maximum(error, 1e-9)).max())


def distributions() -> Iterator[dict[str, Any]]:
    """Yield histograms of ours and t5's masks of the same settings."""
    cases: list[tuple[str, Mask, np.ndarray]] = []
    indices = np.arange(NUM_DRAWS)
    for density, span in ((0.15, 3.0), (0.5, 3.0), (0.5, 64.0)):
        objective = SpanCorruption(noise_density=density, mean_span_length=span)
        ours = objective.noise_mask(568, key=KEY, indices=indices)
        cases.append((f"spans {density} {span:g}", t5_span_mask(density, span), ours))
    rolled = SpanCorruption(random_roll=True).noise_mask(568, key=KEY, indices=indices)
    cases.append(("rolled 0.15 3", t5_span_mask(0.15, 3.0, random_roll=True), rolled))
    cases.append(("iid", t5_iid_mask, IidDenoising().noise_mask(568, key=KEY, indices=indices)))
    prefixes = PrefixLM().prefix_lengths(568, key=KEY, indices=indices)
    cases.append(("prefix LM", t5_prefix_mask, np.arange(568)[None, :] < prefixes[:, None]))
    for name, draw, ours in cases:
        graph = tf.function(lambda number, draw=draw: draw(568, tf.stack([[number, 1], [number, 2]])))
        theirs = np.stack([graph(tf.constant(number)).numpy() for number in range(NUM_DRAWS)])
        longest = 568
        span_histograms = [
            np.bincount(span_lengths(masks), minlength=longest + 1) for masks in (ours, theirs)
        ]
        yield {
            "kind": name,
            "masked": [float(masks.mean()) for masks in (ours, theirs)],
            "spans": [float(len(span_lengths(masks)) / NUM_DRAWS) for masks in (ours, theirs)],
            "span_lengths": chi_square(*span_histograms),
            "positions": largest_difference(ours, theirs),
            "t5_span_lengths": np.trim_zeros(span_histograms[1], "b").tolist(),
        }


def speed() -> tuple[float, float]:
    """Return microseconds a chunk of 568 tokens takes here and in t5 (in a graph, on one chunk a call)."""
    tokens = np.random.default_rng(0).integers(3, 32_000, (128, 568)).astype(np.int32)
    objective, vocabulary = SpanCorruption(), _vocabulary()
    layout = objective.layout(512, "encoder_decoder")
    dataset = tf.data.Dataset.from_tensor_slices({"targets": tokens}).repeat(8)
    features = {name: seqio.Feature(VOCABULARY) for name in ("inputs", "targets")}
    denoised = preprocessors.denoise(
        dataset,
        features,
        noise_density=0.15,
        noise_mask_fn=preprocessors.random_spans_noise_mask,
        inputs_fn=preprocessors.noise_span_to_unique_sentinel,
        targets_fn=preprocessors.nonnoise_span_to_unique_sentinel,
    )
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    denoised = denoised.with_options(options)
    ours, theirs = [], []
    for _ in range(3):
        start = time.perf_counter()
        for number in range(8):
            indices = number * 128 + np.arange(128)
            objective.fields(tokens, key=KEY, indices=indices, vocabulary=vocabulary, layout=layout)
        ours.append((time.perf_counter() - start) / 1024)
        start = time.perf_counter()
        for _ in denoised.as_numpy_iterator():
            pass
        theirs.append((time.perf_counter() - start) / 1024)
    return min(ours) * 1e6, min(theirs) * 1e6


def main() -> int:
    """Run the comparisons; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="save t5's masks and outputs for the unit tests")
    arguments = parser.parse_args()
    table = list(lengths())
    different = [entry for entry in table if entry["ours"] != entry["t5"]]
    print(f"lengths: {len(table) - len(different)} of {len(table)} identical {different or ''}")
    masks = [entry for number in range(20) for entry in given_masks(number)]
    failures = [entry["kind"] for entry in masks if not entry["same"]]
    print(f"given t5's mask: {len(masks) - len(failures)} of {len(masks)} outputs identical {failures or ''}")
    fields = [result for number in range(20) for result in given_our_masks(number)]
    wrong = sorted({name for name, same in fields if not same})
    num_same = sum(same for _, same in fields)
    print(f"given our mask: {num_same} of {len(fields)} batch fields identical {wrong or ''}")
    shapes = list(distributions())
    far = []
    for entry in shapes:
        statistic, freedom = entry["span_lengths"]
        if statistic > freedom + 5 * np.sqrt(2 * freedom) or entry["positions"] > 4.5:
            far.append(entry["kind"])
        print(
            f"distribution of {entry['kind']} (ours, t5): masked {entry['masked'][0]:.4f}, "
            f"{entry['masked'][1]:.4f}; spans {entry['spans'][0]:.2f}, {entry['spans'][1]:.2f}; span lengths "
            f"chi-square {statistic:.1f} at {freedom}; positions {entry['positions']:.1f} standard errors"
        )
    ours, theirs = speed()
    print(f"span corruption of 568 tokens: {ours:.1f} us, t5 {theirs:.1f} us (ratio {theirs / ours:.1f})")
    if arguments.write:
        golden = {
            "lengths": table,
            "masks": [
                entry for number in (0, 1) for entry in given_masks(number) if len(entry["mask"]) < 100
            ],
            "span_lengths": {entry["kind"]: entry["t5_span_lengths"] for entry in shapes},
            "draws": NUM_DRAWS,
        }
        arguments.write.write_text(json.dumps(golden) + "\n", encoding="utf-8")
    return 1 if different or failures or wrong or far else 0


if __name__ == "__main__":
    sys.exit(main())
