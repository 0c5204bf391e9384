"""Losses of held-out examples as scores with intervals, and by the bytes of their text."""

from typing import NamedTuple

import numpy as np

from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.evaluator import Measured
from t5lite.evaluation.metrics.likelihood import bits_per_byte, mean_per_unit, perplexity
from t5lite.evaluation.metrics.score import Score
from t5lite.models.config import ModelConfig
from t5lite.runner.heldout import Heldout

MASKED = "bits_per_masked_byte"
"""The loss of a masked language model in bits, by the bytes of the tokens that are masked."""
_BATCH_SIZE = 64


class ScoredText(NamedTuple):
    """The text that an evaluation asks for."""

    bytes_N: np.ndarray
    """UTF-8 bytes of each example."""
    num_tokens: int
    num_unknown: int
    loss: str = "text_loss"
    """The metric that is its loss."""
    metric: str = "bits_per_byte"
    """What that is called by its bytes."""

    def __str__(self) -> str:
        note = f"{self.metric} is {self.loss} by the {self.bytes_N.sum():,} UTF-8 bytes of the text asked for"
        if self.num_unknown:
            note += (
                f"; {self.num_unknown:,} of its {self.num_tokens:,} tokens are unknown and count as what "
                "they are decoded to"
            )
        return note


def scored_text(heldout: Heldout, model: ModelConfig, *, goes_on: bool) -> ScoredText | None:
    """Return how much text the examples of an evaluation ask for: target tokens but EOS and sentinels.

    Of a masked language model it is what is masked; it guesses each token without the others, which is no
    code for a text, so that its bits by bytes have a name of their own. Of other heads there is none.

    Args:
      heldout: what is measured on.
      model: that is measured.
      goes_on: whether the text goes on from other text, as a chunk of a document does and a target does not.
    """
    if not (model.writes or model.fills_masks):
        return None
    asked = model.outputs[0]
    vocabulary, num_bytes, num_tokens, num_unknown = heldout.pipeline.vocabulary, [], 0, 0
    for batch in heldout.pipeline.eval_batches(_BATCH_SIZE, max_examples=heldout.config.max_examples):
        targets_BL = batch[asked.targets]
        is_text_BL = (batch[str(asked.weights)] > 0) & ~np.isin(targets_BL, _no_text(vocabulary))
        for targets_L, is_text_L in zip(targets_BL, is_text_BL, strict=True):
            ids = targets_L[is_text_L]
            num_bytes.append(vocabulary.num_bytes(ids, goes_on=goes_on))
            num_tokens += len(ids)
            num_unknown += int((ids == vocabulary.unk_id).sum())
    bytes_N = np.array(num_bytes[: heldout.num_examples])
    if model.writes:
        return ScoredText(bytes_N, num_tokens, num_unknown)
    return ScoredText(bytes_N, num_tokens, num_unknown, loss="loss", metric=MASKED)


def _no_text(vocabulary: Vocabulary) -> np.ndarray:
    # A character that is EOS, such as a line's end, is text.
    ends = [] if vocabulary.eos_id is None or vocabulary.decode([vocabulary.eos_id]) else [vocabulary.eos_id]
    return np.append(vocabulary.sentinel_ids, ends)


def likelihood_scores(
    measured: Measured, num_examples: int, text: ScoredText | None, *, has_likelihood: bool = True
) -> dict[str, Score]:
    """Return the means of an evaluation with their intervals, and its bits by bytes.

    Args:
      measured: by example.
      num_examples: how many there are; what comes behind them fills up a batch.
      text: that the examples ask for; None where they ask for none.
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
    if text is not None and text.loss in rows and text.bytes_N.any():
        scores[text.metric] = bits_per_byte(rows[text.loss][0], text.bytes_N)
    return scores
