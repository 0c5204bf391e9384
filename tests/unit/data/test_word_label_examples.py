import json

import numpy as np
import pytest

from t5lite.core.errors import DataError
from t5lite.data.examples.word_label_examples import WordLabelsDataConfig, word_tokens
from t5lite.data.pipeline import Pipeline, open_pipeline
from t5lite.data.stores.pair_store import PairStoreWriter
from t5lite.data.vocabulary import ByteVocabulary, Vocabulary

LENGTH = 20


def opened(path, rows, vocabulary: Vocabulary, **options) -> Pipeline:
    with PairStoreWriter(path, vocabulary=vocabulary, has_labels=True) as writer:
        for words, tags in rows:
            writer.add_batch([(vocabulary.encode(" ".join(words)), vocabulary.encode(" ".join(tags)))])
            writer.add_labels([json.dumps({"words": words, "tags": tags}, ensure_ascii=False)])
    classes = options.pop("classes", None)
    config = WordLabelsDataConfig(store=str(path), **{"inputs_length": LENGTH, **options})
    return open_pipeline(config, architecture="encoder_only", shuffle=False, classes=classes)


ROWS = [
    (["Ada", "went", "to", "Łódź"], ["B-PER", "O", "O", "B-LOC"]),
    (["a", "very", "long", "row", "of", "words"], ["O"] * 5 + ["B-PER"]),
]


def test_the_class_of_a_tag_stands_at_the_first_token_of_its_word(tmp_path):
    vocabulary = ByteVocabulary()
    pipeline = opened(tmp_path / "store", ROWS, vocabulary)
    assert pipeline.classes is not None
    assert pipeline.classes.texts == ("B-LOC", "B-PER", "O")
    batch = pipeline.batch(0, batch_size=2)
    for row, (words, tags) in enumerate(ROWS):
        starts = np.flatnonzero(batch["encoder_loss_weights"][row])
        assert [pipeline.classes.texts[n] for n in batch["encoder_target_tokens"][row, starts]] == tags[
            : len(starts)
        ]
        for start, word in zip(starts, words, strict=False):
            tokens = vocabulary.encode(f" {word}")
            seen = batch["encoder_input_tokens"][row, start : start + len(tokens)]
            assert seen[: LENGTH - 1 - start].tolist() == tokens[: LENGTH - 1 - start].tolist()
    assert {name: pipeline.report[name] for name in ("truncated", "words", "words_unseen")} == {
        "truncated": 2,
        "words": 10,
        "words_unseen": 1,
    }


def test_a_prediction_has_a_tag_for_every_word(tmp_path):
    """What the model does not see is outside; outputs beyond the classes stand for nothing."""
    pipeline = opened(tmp_path / "store", ROWS, ByteVocabulary())
    assert pipeline.answered is not None
    labels = np.zeros((LENGTH, 4), np.float32)
    labels[:, 3], labels[:, 1] = 9, 5
    assert list(pipeline.answered.predictions([(1, {"labels": labels})])) == [(1, "B-PER " * 5 + "O")]
    described = pipeline.answered.described(1)
    assert (described.reference, described.input_cut) == ("O O O O O B-PER", True)


def test_words_are_cut_as_they_are_within_a_text(vocabulary, prose):
    for text in prose(8, seed=1, words=(2, 12)):
        words = text.split()
        tokens = word_tokens(words, vocabulary)
        together = np.concatenate([tokens[word] for word in words])
        np.testing.assert_array_equal(together, vocabulary.encode(" ".join(words)))


def test_what_does_not_fit_together_is_refused_with_a_remedy(tmp_path):
    vocabulary = ByteVocabulary()
    with pytest.raises(DataError, match=r"1 of 1 rows .* row 0, 'two words': 2 words, 1 tags; correct"):
        opened(tmp_path / "uneven", [(["two", "words"], ["O"])], vocabulary)
    classes = opened(tmp_path / "known", ROWS, vocabulary).classes
    with pytest.raises(DataError, match=r"tags that no training row had: 'B-MISC'; the classes are 'B-LOC'"):
        opened(tmp_path / "more", [(["x"], ["B-MISC"])], vocabulary, classes=classes)
    with pytest.raises(DataError, match=r"none of the 1 rows .* fits inputs_length=4; raise it"):
        opened(tmp_path / "short", ROWS[:1], vocabulary, inputs_length=4, overlong="drop")
