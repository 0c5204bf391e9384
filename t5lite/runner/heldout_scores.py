"""Losses of held-out examples as scores with intervals, and by the bytes of their text."""

from typing import NamedTuple

import numpy as np

from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.evaluator import Measured
from t5lite.evaluation.metrics.likelihood import bits_per_byte, mean_per_unit, perplexity
from t5lite.evaluation.metrics.score import Score
from t5lite.runner.heldout import Heldout

_BATCH_SIZE = 64


class ScoredText(NamedTuple):
    """The text that an evaluation asks for."""

    bytes_N: np.ndarray
    """UTF-8 bytes of each example."""
    num_tokens: int
    num_unknown: int

    def __str__(self) -> str:
        note = f"bits_per_byte is text_loss by the {self.bytes_N.sum():,} UTF-8 bytes of the text asked for"
        if self.num_unknown:
            note += (
                f"; {self.num_unknown:,} of its {self.num_tokens:,} tokens are unknown and count as what "
                "they are decoded to"
            )
        return note


def scored_text(heldout: Heldout, *, goes_on: bool) -> ScoredText:
    """Return how much text the examples of an evaluation ask for: target tokens but EOS and sentinels.

    Args:
      heldout: what a model that writes is measured on.
      goes_on: whether the text goes on from other text, as a chunk of a document does and a target does not.
    """
    vocabulary, num_bytes, num_tokens, num_unknown = heldout.pipeline.vocabulary, [], 0, 0
    for batch in heldout.pipeline.eval_batches(_BATCH_SIZE, max_examples=heldout.config.max_examples):
        targets_BL = batch["decoder_target_tokens"]
        is_text_BL = (batch["decoder_loss_weights"] > 0) & ~np.isin(targets_BL, _no_text(vocabulary))
        for targets_L, is_text_L in zip(targets_BL, is_text_BL, strict=True):
            ids = targets_L[is_text_L]
            num_bytes.append(vocabulary.num_bytes(ids, goes_on=goes_on))
            num_tokens += len(ids)
            num_unknown += int((ids == vocabulary.unk_id).sum())
    return ScoredText(np.array(num_bytes[: heldout.num_examples]), num_tokens, num_unknown)


def _no_text(vocabulary: Vocabulary) -> np.ndarray:
    return np.append(vocabulary.sentinel_ids, [] if vocabulary.eos_id is None else [vocabulary.eos_id])


def likelihood_scores(
    measured: Measured, num_examples: int, text: ScoredText | None, *, has_likelihood: bool = True
) -> dict[str, Score]:
    """Return the means of an evaluation with their intervals, and ``bits_per_byte``.

    Args:
      measured: by example.
      num_examples: how many there are; what comes behind them fills up a batch.
      text: that the examples ask for; None where the model writes none.
      has_likelihood: whether the loss is one, so that there is a perplexity.
    """
    rows = {
        name: (each.totals[:num_examples], each.weights[:num_examples])
        for name, each in measured.rows.items()
        if each.weights.any()
    }
    scores = {name: mean_per_unit(*each) for name, each in rows.items()}
    if has_likelihood:
        scores["perplexity"] = perplexity(*rows["loss"])
    if text is not None and "text_loss" in rows and text.bytes_N.any():
        scores["bits_per_byte"] = bits_per_byte(rows["text_loss"][0], text.bytes_N)
    return scores
