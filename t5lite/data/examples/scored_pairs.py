"""Pairs that say how alike their texts are, which is measured and not trained on."""

from t5lite.core.errors import DataError
from t5lite.data.stores.pair_store import PairStore

SIMILARITY = "similarity"
"""The label of a pair that says how alike its texts are, as `--task sts` keeps it."""


def are_scored(store: PairStore) -> bool:
    """Whether a store says how alike its pairs are."""
    return store.has_labels(SIMILARITY)


def check_trained_on(store: PairStore) -> None:
    """Check that the pairs of a store can be learned from: nothing says which of scored ones are alike.

    Raises:
      DataError: if they are scored.
    """
    if are_scored(store):
        raise DataError(
            f"{store.path} says how alike its pairs are, which no training learns: every pair would be one "
            "that belongs together, unlike ones, too. Give it as evaluations.NAME.store of a training to "
            "embed, or train on the alike ones alone, by --task triplets or `t5lite prepare pairs`"
        )
