import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples import label_classes
from t5lite.data.examples.label_classes import LabelClasses, check_num_labels
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.pipeline import Pipeline, open_pipeline
from t5lite.data.prepare import write_pair_store
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary.special_tokens import special_tokens

NAMES = ["vo", "ba", "ke ba"]
LENGTH = 24


@pytest.fixture(scope="module")
def inputs(prose) -> list[str]:
    return prose(31, seed=4, words=(2, 12))


@pytest.fixture(scope="module")
def store(inputs, vocabulary, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("classes") / "train"
    write_pair_store([(text, NAMES[i % 3]) for i, text in enumerate(inputs)], vocabulary, path)
    return path


def open_store(path: Path, *, classes: LabelClasses | None = None, **options) -> Pipeline:
    config = PairsDataConfig(store=str(path), **{"inputs_length": LENGTH, **options})
    return open_pipeline(config, architecture="encoder_only", shuffle=False, classes=classes)


def test_a_row_is_the_framed_inputs_and_the_number_of_its_target(store, inputs, vocabulary):
    pipeline = open_store(store)
    assert pipeline.classes is not None
    assert pipeline.classes.texts == tuple(sorted(NAMES))
    batch = pipeline.batch(0, batch_size=len(inputs))
    assert batch["sequence_labels"].dtype == np.int32
    np.testing.assert_array_equal(batch["sequence_labels"], [[2, 0, 1][i % 3] for i in range(len(inputs))])
    special = special_tokens(vocabulary)
    pairs = PairStore.open(store)
    for row, tokens in enumerate(batch["encoder_input_tokens"]):
        document = pairs.inputs.document(row).tolist()[: LENGTH - 2]
        expected = [special.cls, *document, special.sep]
        assert tokens.tolist() == expected + [0] * (LENGTH - len(expected))
        assert batch["encoder_segment_ids"][row].tolist() == [1] * len(expected) + [0] * (
            LENGTH - len(expected)
        )
    assert pipeline.report["truncated"] > 0
    np.testing.assert_allclose(pipeline.report["density"], batch["encoder_segment_ids"].mean())


def test_pairs_that_are_too_long_can_be_left_out(store, inputs):
    pipeline = open_store(store, overlong="drop")
    assert pipeline.num_examples == len(inputs) - pipeline.report["dropped"] < len(inputs)
    with pytest.raises(DataError, match=r"none of the 31 pairs .* inputs_length=3; raise it"):
        open_store(store, overlong="drop", inputs_length=3)


def test_rows_that_fill_up_the_last_batch_have_no_label(store, inputs):
    *_, last = open_store(store).eval_batches(len(inputs) - 1)
    assert (last["sequence_labels"] >= 0).sum() == 1
    assert (last["sequence_labels"][1:] == -1).all()


def test_workers_make_the_same_batches(store):
    pipeline = open_store(store)
    alone = pipeline.batches(batch_size=4, num_steps=3)
    for one, other in zip(alone, pipeline.batches(batch_size=4, num_steps=3, num_workers=1), strict=True):
        assert {name: field.tolist() for name, field in one.items()} == {
            name: field.tolist() for name, field in other.items()
        }


def test_the_numbers_are_those_of_the_training_store(store, vocabulary, tmp_path):
    write_pair_store([("mo ra", "vo"), ("ti", "ke ba")], vocabulary, tmp_path / "heldout")
    classes = open_store(store).classes
    batch = open_store(tmp_path / "heldout", classes=classes).batch(0, batch_size=2)
    assert batch["sequence_labels"].tolist() == [2, 1]


def test_a_label_that_training_never_had_is_refused(store, vocabulary, tmp_path):
    write_pair_store([("mo ra", "vo"), ("ti", "se"), ("ti", "se")], vocabulary, tmp_path / "heldout")
    message = (
        "2 pairs of .*heldout have a target that no training pair had, such as 'se'; the classes are 'ba'"
    )
    with pytest.raises(DataError, match=message):
        open_store(tmp_path / "heldout", classes=open_store(store).classes)


def test_too_many_classes_are_refused(store, monkeypatch):
    classes = open_store(store).classes
    assert classes is not None
    check_num_labels(classes, 3, store="train")
    with pytest.raises(DataError, match=r"has 3 classes, 'ba', 'ke ba', 'vo', .* set model\.num_labels=3"):
        check_num_labels(classes, 2, store="train")
    monkeypatch.setattr(label_classes, "MAX_CLASSES", 2)
    with pytest.raises(DataError, match="more than 2 distinct targets, such as 'vo'"):
        open_store(store)


def test_targets_are_read_by_blocks(store, monkeypatch):
    expected = open_store(store).batch(0, batch_size=31)["sequence_labels"]
    monkeypatch.setattr(label_classes, "_BLOCK", 4)
    np.testing.assert_array_equal(open_store(store).batch(0, batch_size=31)["sequence_labels"], expected)


def test_rows_are_not_packed(store):
    with pytest.raises(ConfigError, match=r"set data\.pack=False"):
        open_store(store, pack=True)


def test_classes_are_named_as_they_were_given(vocabulary, tmp_path):
    """Their ids are of the text that the vocabulary normalised."""
    names = ["ｋｅ  ｌｉ", "ｂａ"]
    assert [vocabulary.decode(vocabulary.encode(name)) for name in names] == ["ke li", "ba"]
    write_pair_store([("a text", names[i % 2]) for i in range(6)], vocabulary, tmp_path / "few")
    classes = open_store(tmp_path / "few").classes
    assert classes is not None
    assert classes.texts == tuple(sorted(names))
    # Targets that do not repeat name no classes, and are not kept twice.
    write_pair_store([("a text", name) for name in names], vocabulary, tmp_path / "two")
    classes = open_store(tmp_path / "two").classes
    assert classes is not None
    assert classes.texts == ("ba", "ke li")


def test_a_damaged_list_of_names_is_refused(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy")
    names = copy / "target_names.json"
    names.write_bytes(names.read_bytes().replace(b"ba", b"bA"))
    with pytest.raises(DataError, match=r"target_names\.json is damaged \(it does not match its CRC-32\)"):
        open_store(copy)
    names.unlink()
    with pytest.raises(DataError, match=r"target_names\.json is missing"):
        open_store(copy)
    index = json.loads((copy / "pairs.json").read_text())
    del index["index_crc32"], index["target_names_crc32"]  # which earlier versions did not write
    (copy / "pairs.json").write_text(json.dumps(index))
    for content, problem in (("[", "is damaged"), ('{"a": 1}', "is no list of names")):
        names.write_text(content)
        with pytest.raises(DataError, match=rf"target_names\.json {problem}"):
            open_store(copy)


def test_names_that_are_the_same_tokens_are_no_classes(store, vocabulary):
    alike = label_classes.named_classes(("ｂａ", "ba"), vocabulary)
    with pytest.raises(DataError, match="'ｂａ', 'ba' some are the same tokens"):
        open_store(store, classes=alike)
