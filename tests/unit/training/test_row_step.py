"""What is measured of each example: the evaluation step's figures, whatever the batches."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from t5lite.data.vocabulary import ByteVocabulary
from t5lite.evaluation.evaluator import evaluate_loss, measure
from t5lite.models.config import DecoderOnlyConfig
from t5lite.models.functional import build
from t5lite.models.laptop import LAPTOP_BERT
from t5lite.runner.heldout_scores import ScoredText, likelihood_scores, scored_text
from t5lite.training.row_step import make_row_step
from t5lite.training.step import make_eval_step

LENGTH, NUM = 6, 7
SENTINELS = np.array([38, 39])
MODEL = build(DecoderOnlyConfig(vocab_size=40, embed_dim=8, mlp_dim=8, head_dim=4, num_heads=2, num_layers=1))


@pytest.fixture(scope="module")
def params():
    return jax.jit(MODEL.init)(jax.random.key(0))


def examples() -> dict[str, np.ndarray]:
    """Rows of all lengths, one without any target, with EOS (1) and sentinels among them."""
    rng = np.random.default_rng(0)
    tokens_NL = rng.integers(1, 40, (NUM, LENGTH + 1)).astype(np.int32)
    tokens_NL[:, -1] = 1
    weights_NL = (np.arange(LENGTH)[None] >= np.arange(NUM)[:, None]).astype(np.float32)
    return {
        "decoder_input_tokens": tokens_NL[:, :-1],
        "decoder_target_tokens": tokens_NL[:, 1:],
        "decoder_loss_weights": weights_NL,
    }


def batches(size: int):
    """The examples in batches whose last one is filled up with rows that do not count."""
    fields = examples()
    for start in range(0, NUM, size):
        places = start + np.arange(size)
        batch = {name: rows[np.minimum(places, NUM - 1)] for name, rows in fields.items()}
        batch["decoder_loss_weights"][places >= NUM] = 0
        yield batch


def test_rows_add_up_to_the_evaluation_step_whatever_the_batches(params):
    options = {"sentinel_ids": SENTINELS, "eos_id": 1}
    whole = evaluate_loss(jax.jit(make_eval_step(MODEL, **options)), params, batches(NUM))
    step = jax.jit(make_row_step(MODEL, **options))
    text = ScoredText(np.arange(1, NUM + 1), num_tokens=NUM, num_unknown=0)
    found = []
    for size in (NUM, 3):
        measured = measure(step, params, batches(size))
        assert measured.means == pytest.approx(whole)
        found.append(likelihood_scores(measured, NUM, text))
    assert set(found[0]) == {*whole, "bits_per_byte"}
    for name, score in found[0].items():
        other = found[1][name]
        assert score.value == pytest.approx(other.value)
        assert (score.interval.low, score.interval.high) == pytest.approx(
            (other.interval.low, other.interval.high)
        )
        assert score.interval.low <= score.value <= score.interval.high
    assert found[0]["loss"].value == pytest.approx(whole["loss"])
    nats = float(measured.rows["text_loss"].totals[:NUM].sum())
    assert found[0]["bits_per_byte"].value == pytest.approx(nats / math.log(2) / text.bytes_N.sum())


def test_what_is_not_finite_has_no_interval(params):
    step = jax.jit(make_row_step(MODEL, sentinel_ids=SENTINELS, eos_id=1))
    damaged = jax.tree.map(lambda leaf: leaf * np.nan, params)
    scores = likelihood_scores(measure(step, damaged, batches(NUM)), NUM, None)
    assert math.isnan(scores["loss"].value)
    assert scores["loss"].interval is scores["loss"].error is None
    assert "bits_per_byte" not in scores


def test_bytes_of_a_byte_vocabulary_need_no_whole_characters():
    vocabulary = ByteVocabulary(extra_ids=0)
    for text in ("été", " ☃", ""):
        ids = vocabulary.encode(text)
        assert vocabulary.num_bytes(ids) == len(text.encode())
        assert vocabulary.num_bytes(ids, goes_on=True) == len(text.encode())
    assert vocabulary.num_bytes(vocabulary.encode("é")[:1]) == 1  # half a character


def test_a_masked_model_is_asked_for_what_is_masked():
    vocabulary = ByteVocabulary(extra_ids=0)
    ids = np.array(vocabulary.encode("é, ab"))
    weights = np.array([1, 1, 0, 0, 1, 0], np.float32)[: len(ids)]
    batch = {"encoder_target_tokens": ids[None], "encoder_loss_weights": weights[None]}
    pipeline = SimpleNamespace(vocabulary=vocabulary, eval_batches=lambda *args, **options: [batch])
    heldout: Any = SimpleNamespace(
        pipeline=pipeline, num_examples=1, config=SimpleNamespace(max_examples=None)
    )
    text = scored_text(heldout, LAPTOP_BERT, goes_on=True)
    assert text is not None
    assert text.bytes_N.tolist() == [int(weights.sum())]
    assert str(text).startswith("bits_per_masked_byte is loss by the 3 UTF-8 bytes")
    assert scored_text(heldout, replace(LAPTOP_BERT, head="sequence_classification"), goes_on=True) is None
    rows = {"loss": SimpleNamespace(totals=np.array([6.0]), weights=np.array([3.0]))}
    measured: Any = SimpleNamespace(rows=rows)
    scores = likelihood_scores(measured, 1, text)
    assert scores["bits_per_masked_byte"].value == pytest.approx(2 / math.log(2))
