import json

import numpy as np
import pytest

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples.text_pair_examples import TextPairsDataConfig
from t5lite.data.pipeline import Pipeline, open_pipeline
from t5lite.data.prepare import write_pair_store
from t5lite.data.stores.pair_store import PairStoreWriter
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens

LENGTH = 12
PAIRS = [("Straße", "street"), ("the dog", "Hund"), ("Straße", "road"), ("a very long anchor", "Hund")]


def opened(path, **options) -> Pipeline:
    config = TextPairsDataConfig(store=str(path), **{"inputs_length": LENGTH, **options})
    return open_pipeline(config, architecture="encoder_only", shuffle=False)


@pytest.fixture
def store(tmp_path):
    write_pair_store(iter(PAIRS), ByteVocabulary(), tmp_path / "pairs")
    return tmp_path / "pairs"


@pytest.fixture
def triplets(tmp_path):
    with PairStoreWriter(tmp_path / "triplets", vocabulary=ByteVocabulary(), has_labels=True) as writer:
        vocabulary = ByteVocabulary()
        writer.add_batch([(vocabulary.encode(anchor), vocabulary.encode(text)) for anchor, text in PAIRS])
        writer.add_labels(json.dumps({"negative": f"no {number}"}) for number in range(len(PAIRS)))
    return tmp_path / "triplets"


def texts_of(batch, row: int) -> list[str]:
    """Return the texts of a row, by their segments, without what frames them."""
    vocabulary = ByteVocabulary()
    _, cls, sep = special_tokens(vocabulary)
    tokens_M, segments_M = batch["encoder_input_tokens"][row], batch["encoder_segment_ids"][row]
    found = []
    for segment in range(1, segments_M.max() + 1):
        ids = tokens_M[segments_M == segment]
        assert (ids[0], ids[-1]) == (cls, sep)
        found.append(vocabulary.decode(ids[1:-1]))
    return found


def test_a_row_has_both_texts_and_their_numbers(store):
    pipeline = opened(store)
    batch = pipeline.batch(0, batch_size=4)
    assert batch["encoder_input_tokens"].shape == (4, 2 * LENGTH)
    assert [texts_of(batch, row) for row in range(3)] == [list(pair) for pair in PAIRS[:3]]
    assert batch["text_numbers"].tolist() == [[0, 3], [1, 4], [0, 5], [2, 4]]
    assert "negative_numbers" not in batch
    assert pipeline.text_pairs is not None
    assert pipeline.text_pairs.described(3)[:3] == ("a very long anchor", "Hund", True)
    assert {name: pipeline.report[name] for name in ("pairs", "truncated", "dropped")} == {
        "pairs": 4,
        "truncated": 1,
        "dropped": 0,
    }
    (evaluated,) = pipeline.eval_batches(6)
    assert (evaluated["text_numbers"] < 0).all(axis=1).sum() == 2


def test_a_hard_negative_is_the_third(triplets):
    batch = opened(triplets, hard_negatives=True).batch(0, batch_size=4)
    assert texts_of(batch, 1) == [*PAIRS[1], "no 1"]
    assert opened(triplets).batch(0, batch_size=4)["encoder_input_tokens"].shape == (4, 2 * LENGTH)


def test_texts_are_the_same_wherever_they_stand_and_where_what_is_read_of_them_is(tmp_path):
    """Anchor, positive and hard negative of one dictionary; behind the cut nothing tells texts apart."""
    vocabulary, rows = ByteVocabulary(), [("a", "b", "c"), ("b", "c", "a"), ("long " * 3, "a", "long " * 9)]
    with PairStoreWriter(tmp_path / "triplets", vocabulary=vocabulary, has_labels=True) as writer:
        writer.add_batch([(vocabulary.encode(row[0]), vocabulary.encode(row[1])) for row in rows])
        writer.add_labels(json.dumps({"negative": row[2]}) for row in rows)
    batch = opened(tmp_path / "triplets", hard_negatives=True).batch(0, batch_size=3)
    numbers = np.column_stack([batch["text_numbers"], batch["negative_numbers"]])
    assert numbers.tolist() == [[0, 1, 3], [1, 3, 0], [2, 0, 2]]


def test_pairs_that_do_not_fit_are_dropped_where_asked_for(store):
    pipeline = opened(store, overlong="drop")
    assert (pipeline.num_examples, pipeline.report["dropped"]) == (3, 1)
    held_out = TextPairsDataConfig(store=str(store), overlong="drop").held_out("elsewhere")
    assert not held_out.drops_overlong


def test_what_cannot_be_contrasted_is_refused(store):
    with pytest.raises(DataError, match=r"0 of 4 pairs of .* fit inputs_length=8"):
        opened(store, inputs_length=8, overlong="drop")
    with pytest.raises(DataError, match=r"keeps no hard negatives; prepare rows .*--task triplets"):
        opened(store, hard_negatives=True)
    with pytest.raises(ConfigError, match="with head='sentence_embedding', and has no labels"):
        TextPairsDataConfig(store="nowhere").check_model("encoder_only", "masked_lm")
