"""What the loss of a text is read beside: counts of tokens, and of pairs of them, in the training text."""

from t5lite.core.errors import DataError
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.ngram import bigram_cross_entropy, unigram_cross_entropy
from t5lite.run_config import RunConfig
from t5lite.runner.heldout import Heldout

_NGRAM_TOKENS = 20_000_000
"""Training tokens that the n-gram baselines count at most: enough for their tables, seconds of work."""


def ngram_baselines(train_store: str, heldout_store: str, vocabulary: Vocabulary) -> dict[str, float]:
    """Return the cross-entropy of the held-out text under counts of the training text, nats per token.

    It is that of the whole held-out text, not only of the examples that an evaluation uses; of either
    store, the first 20 million tokens at most.

    Raises:
      DataError: if a store cannot be used or belongs to another vocabulary.
    """
    train = TokenStore.open(train_store, vocabulary.fingerprint)
    heldout = TokenStore.open(heldout_store, vocabulary.fingerprint)
    train_tokens = train.tokens(0, min(train.num_tokens, _NGRAM_TOKENS))
    heldout_tokens = heldout.tokens(0, min(heldout.num_tokens, _NGRAM_TOKENS))
    return {
        "unigram": unigram_cross_entropy(train_tokens, heldout_tokens, vocab_size=vocabulary.size),
        "bigram": bigram_cross_entropy(train_tokens, heldout_tokens, vocab_size=vocabulary.size),
    }


def baselines_if_possible(
    config: RunConfig, heldout: Heldout, vocabulary: Vocabulary
) -> tuple[dict[str, float], list[str]]:
    """Return the baselines and what to say of them; the training text may be gone after training."""
    train_store = config.evaluated_data(heldout.name).store
    try:
        baselines = ngram_baselines(train_store, heldout.config.store, vocabulary)
    except DataError as error:
        note = f"unigram and bigram are left out, for the training text cannot be read: {error}"
        return ({}, [note])
    if config.model.fills_masks:
        # It sees both sides of a token, so a model that has only the token before is no match for it.
        unigram = {"unigram": baselines["unigram"]}
        return (unigram, ["unigram is of the whole held-out text; compare it with loss"])
    note = "unigram and bigram are of the whole held-out text; compare them with text_loss"
    return (baselines, [note])
