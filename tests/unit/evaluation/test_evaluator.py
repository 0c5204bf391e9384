from math import exp, inf
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.core.errors import DataError
from t5lite.core.metrics import WeightedSum
from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary
from t5lite.decoding import greedy
from t5lite.evaluation import evaluator
from t5lite.evaluation.evaluator import encoder_use, evaluate_loss, with_rolled_encoder
from t5lite.evaluation.text_generation import (
    GenerationSizes,
    TextGenerator,
    generate_outputs,
)
from t5lite.models.config import EncoderDecoderConfig, RelativePositions
from t5lite.models.functional import build
from tests.generated_texts import generate_texts


def make_batch(inputs: list[int], real: int | None = None) -> dict[str, np.ndarray]:
    """One encoder token a row; targets repeat it twice; rows from ``real`` on fill up."""
    tokens_BM = np.array(inputs, np.int32)[:, None]
    targets_BL = np.repeat(tokens_BM, 2, axis=1)
    weights_BL = np.ones(targets_BL.shape, np.float32)
    weights_BL[real if real is not None else len(inputs) :] = 0
    return {
        "encoder_input_tokens": tokens_BM,
        "decoder_input_tokens": np.zeros_like(targets_BL),
        "decoder_target_tokens": targets_BL,
        "decoder_loss_weights": weights_BL,
    }


def distance_step(params: float, batch: Any) -> dict[str, WeightedSum]:
    """A model that copies its encoder: its loss is how far the encoder token is from the target."""
    error_BL = jnp.abs(batch["encoder_input_tokens"] - batch["decoder_target_tokens"]) + params
    weights_BL = batch["decoder_loss_weights"]
    right = jnp.sum((error_BL == params) * weights_BL)
    weight = jnp.sum(weights_BL)
    return {
        "loss": WeightedSum(jnp.sum(error_BL * weights_BL), weight),
        "accuracy": WeightedSum(right, weight),
    }


def target_step(params: float, batch: Any) -> dict[str, WeightedSum]:
    """A model that ignores its encoder."""
    weights_BL = batch["decoder_loss_weights"]
    return {"loss": WeightedSum(jnp.sum(batch["decoder_target_tokens"] * weights_BL), jnp.sum(weights_BL))}


def test_metrics_are_weighted_over_batches_and_not_averaged_per_batch():
    batches = [make_batch([1, 1, 1]), make_batch([10, 7, 7], real=1)]
    metrics = evaluate_loss(target_step, 0.0, batches)
    assert metrics == {"loss": pytest.approx((3 + 10) / 4), "perplexity": pytest.approx(exp(13 / 4))}


def test_other_metrics_come_along_and_a_huge_loss_has_infinite_perplexity():
    metrics = evaluate_loss(distance_step, 1000.0, [make_batch([1, 2])])
    assert metrics == {"loss": 1000.0, "accuracy": 1.0, "perplexity": inf}


@pytest.mark.parametrize("batches", [[], [make_batch([1, 2], real=0)]])
def test_nothing_to_evaluate_is_an_error(batches):
    with pytest.raises(DataError, match="no target token"):
        evaluate_loss(target_step, 0.0, batches)


def test_a_model_that_ignores_its_encoder_has_no_encoder_use():
    assert encoder_use(target_step, 0.0, [make_batch([3, 9, 4]), make_batch([5, 1])]) == 0.0


def test_encoder_use_of_a_copier_is_the_distance_between_neighbours():
    # Rolled by one among the real rows [1, 2, 4]: [4, 1, 2]; the filler 100 is never handed to anybody.
    batches = [make_batch([1, 2, 4, 100], real=3)]
    assert encoder_use(distance_step, 0.5, batches) == pytest.approx((3 + 1 + 2) / 3)


def test_a_batch_with_one_real_row_changes_only_the_loss():
    batches = [make_batch([1, 2, 4]), make_batch([50, 100], real=1)]
    alone = evaluate_loss(distance_step, 0.5, batches[:1], measure_encoder_use=True)
    both = evaluate_loss(distance_step, 0.5, batches, measure_encoder_use=True)
    assert both["encoder_use"] == pytest.approx(alone["encoder_use"])
    assert both["loss"] == pytest.approx(0.5)
    with pytest.raises(DataError, match="no batch has two"):
        encoder_use(distance_step, 0.5, batches[1:])


def test_nothing_is_fetched_until_the_next_batch_with_its_rolled_pass_is_dispatched(monkeypatch):
    events = []

    class Deferred:
        """A number on a device: to look at it is to wait for it."""

        def __float__(self):
            events.append("fetch")
            return 2.0

        __int__ = __float__

    def step(params, batch):
        events.append("step")
        return {"loss": WeightedSum(1.0, 1.0)}

    monkeypatch.setattr(evaluator, "_num_real_rows", lambda weights_BL: Deferred())
    evaluate_loss(step, 0.0, [make_batch([1, 2])] * 3, measure_encoder_use=True)
    assert events == ["step"] * 4 + ["fetch"] + ["step"] * 2 + ["fetch"] * 2


def test_rolling_moves_segment_ids_along_skips_filler_rows_in_between_and_keeps_the_rest():
    batch = make_batch([10, 20, 30, 40])
    batch["decoder_loss_weights"][1] = 0
    batch["encoder_segment_ids"] = batch["encoder_input_tokens"] // 10
    batch["decoder_segment_ids"] = np.ones_like(batch["decoder_input_tokens"])
    rolled = with_rolled_encoder(batch)
    np.testing.assert_array_equal(rolled["encoder_input_tokens"], [[40], [20], [10], [30]])
    np.testing.assert_array_equal(rolled["encoder_segment_ids"], [[4], [2], [1], [3]])
    for name in ("decoder_input_tokens", "decoder_target_tokens", "decoder_segment_ids"):
        assert rolled[name] is batch[name]
    assert isinstance(rolled["encoder_input_tokens"], np.ndarray)


def test_rolling_keeps_the_sharding_of_device_arrays():
    device_batch = {name: jax.device_put(value) for name, value in make_batch([1, 2, 3]).items()}
    rolled = with_rolled_encoder(device_batch)["encoder_input_tokens"]
    assert isinstance(rolled, jax.Array)
    assert rolled.sharding == device_batch["encoder_input_tokens"].sharding


TEXTS = ["en el principio", "", "y vio dios que la luz era buena y aparto dios la luz", "la tierra"]
LENGTH = 12


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    train_vocabulary(TEXTS, path, size=24)
    return SentencePieceVocabulary(path, extra_ids=4)


@pytest.fixture(scope="module")
def model_and_params(vocabulary):
    config = EncoderDecoderConfig(
        vocab_size=vocabulary.size,
        embed_dim=16,
        mlp_dim=16,
        head_dim=8,
        num_heads=2,
        num_encoder_layers=1,
        num_decoder_layers=1,
        positions=RelativePositions(num_buckets=8, max_distance=20),
    )
    model = build(config)
    return model, jax.jit(model.init)(jax.random.key(1))


def test_generated_texts_do_not_depend_on_the_batch_they_are_in(vocabulary, model_and_params):
    model, params = model_and_params
    lengths = {"encoder_length": LENGTH, "max_decode_length": 6}
    texts = generate_texts(model, params, vocabulary, TEXTS, batch_size=3, **lengths)
    assert len(texts) == len(TEXTS)
    assert len(set(texts)) > 1
    generator = TextGenerator(model, vocabulary, GenerationSizes(batch_size=1, **lengths))
    assert [next(generator(params, [text])).text for text in TEXTS] == texts
    assert list(generator(params, [])) == []


def test_ids_are_generated_from_as_they_are(vocabulary, model_and_params):
    model, params = model_and_params
    ids = np.array([vocabulary.unk_id, 5, vocabulary.unk_id, 6, 5], np.int32)
    assert vocabulary.encode(vocabulary.decode(ids)).tolist() != ids.tolist()
    tokens_1M = jnp.asarray([[*ids, vocabulary.eos_id]], jnp.int32)
    expected_1L = greedy(model.bind(params), tokens_1M, max_decode_length=6)
    lengths = {"encoder_length": LENGTH, "max_decode_length": 6}
    found = generate_texts(model, params, vocabulary, [ids], batch_size=1, **lengths)
    assert found == [vocabulary.decode(np.asarray(expected_1L)[0])]


def test_a_generated_text_is_greedy_search_over_the_input_cut_to_length_and_ended(
    vocabulary, model_and_params
):
    model, params = model_and_params
    ids = vocabulary.encode(TEXTS[2])
    assert len(ids) >= LENGTH
    tokens_1M = jnp.asarray([[*ids[: LENGTH - 1], vocabulary.eos_id]], jnp.int32)
    expected_1L = greedy(model.bind(params), tokens_1M, max_decode_length=6)
    sizes = GenerationSizes(encoder_length=LENGTH, max_decode_length=6, batch_size=1)
    (found,) = generate_outputs(model, params, vocabulary, [TEXTS[2]], sizes)
    assert found.text == vocabulary.decode(np.asarray(expected_1L)[0])
    assert found.input_cut
