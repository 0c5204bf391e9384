import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.vocabulary import (
    ByteVocabulary,
    SentencePieceVocabulary,
    open_vocabulary,
    train_vocabulary,
)
from t5lite.data.vocabulary.sentencepiece_model import user_defined_pieces


def test_t5_conventions(vocabulary):
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    assert (vocabulary.size, vocabulary.extra_ids) == (250, 100)
    assert vocabulary.sentinel(0) == 249
    assert vocabulary.sentinel(99) == 150
    with pytest.raises(ConfigError, match="has 100"):
        vocabulary.sentinel(100)


def test_round_trip_and_batch_encoding_agree(vocabulary, prose):
    texts = prose(20, seed=5)
    for text, ids in zip(texts, vocabulary.encode_batch(texts, 2), strict=True):
        assert ids.dtype == np.int32
        np.testing.assert_array_equal(ids, vocabulary.encode(text))
        assert vocabulary.decode(ids) == text
        assert vocabulary.eos_id not in ids


@pytest.mark.parametrize("kind", ["sentencepiece", "bytes"])
def test_joined_ids_are_those_of_the_texts(kind, vocabulary, prose):
    vocabulary = vocabulary if kind == "sentencepiece" else ByteVocabulary()
    texts = [*prose(20, seed=6), "", "ä"]
    joined, lengths = vocabulary.encode_joined(texts, 1)
    assert joined.dtype == np.int32
    for text, ids in zip(texts, np.split(joined, np.cumsum(lengths)[:-1]), strict=True):
        np.testing.assert_array_equal(ids, vocabulary.encode(text))
    assert [len(each) for each in vocabulary.encode_joined([], 1)] == [0, 0]


def test_decode_drops_padding_and_renders_sentinels(vocabulary):
    ids = [*vocabulary.encode("bake"), vocabulary.sentinel(0), *vocabulary.encode("limo"), 1, 0, 0]
    assert vocabulary.decode(ids) == "bake <extra_id_0> limo"
    np.testing.assert_array_equal(vocabulary.encode("bake <extra_id_0> limo", parse_sentinels=True), ids[:-3])


def test_text_cannot_smuggle_in_sentinels(vocabulary):
    assert vocabulary.encode("bake <extra_id_0>").max() < 150


def test_ids_beyond_the_vocabulary_decode_as_unknown(vocabulary):
    assert "⁇" in vocabulary.decode([vocabulary.size + 5])


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=60))
def test_any_text_encodes_within_the_pieces(vocabulary, text):
    ids = vocabulary.encode(text)
    assert ((ids >= 2) & (ids < 150)).all()


def test_sentinels_that_no_file_names_are_said(vocabulary, tmp_path, caplog):
    vocabulary.write(tmp_path)
    with_them = open_vocabulary(tmp_path)
    num_pieces = with_them.size - 100
    assert f"has {num_pieces:,} pieces and no sentinels, so T5's 100 are added behind them" in caplog.text
    caplog.clear()
    assert open_vocabulary(tmp_path, 0).size == num_pieces
    assert not caplog.records


def test_fingerprint_depends_on_model_and_sentinels(vocabulary, tmp_path, prose):
    assert SentencePieceVocabulary(vocabulary.path).fingerprint == vocabulary.fingerprint
    assert SentencePieceVocabulary(vocabulary.path, extra_ids=50).fingerprint != vocabulary.fingerprint
    train_vocabulary(prose(300, seed=0), tmp_path / "other.model", size=120)
    assert SentencePieceVocabulary(tmp_path / "other.model").fingerprint != vocabulary.fingerprint


def test_training_is_deterministic(vocabulary, tmp_path, prose):
    train_vocabulary(prose(300, seed=0), tmp_path / "again.model", size=150)
    assert SentencePieceVocabulary(tmp_path / "again.model").fingerprint == vocabulary.fingerprint


def test_too_large_a_size_names_a_feasible_one(tmp_path, prose):
    texts = prose(5, seed=0)
    with pytest.raises(DataError, match="use vocabulary_size=") as caught:
        train_vocabulary(texts, tmp_path / "v.model", size=5000)
    feasible = int(str(caught.value).split("use vocabulary_size=")[1].split()[0])
    train_vocabulary(texts, tmp_path / "v.model", size=feasible)
    assert SentencePieceVocabulary(tmp_path / "v.model", extra_ids=0).size == feasible


def test_too_small_a_size_and_no_text(tmp_path, prose):
    with pytest.raises(DataError, match="too small"):
        train_vocabulary(prose(5, seed=0), tmp_path / "v.model", size=5)
    with pytest.raises(DataError, match="no text"):
        train_vocabulary([], tmp_path / "v.model", size=50)
    assert not list(tmp_path.iterdir())


def test_unusable_models_are_refused(tmp_path, prose):
    with pytest.raises(DataError, match="cannot read"):
        SentencePieceVocabulary(tmp_path / "missing.model")
    (tmp_path / "garbage.model").write_bytes(b"garbage")
    with pytest.raises(DataError, match="not a SentencePiece model"):
        SentencePieceVocabulary(tmp_path / "garbage.model")


def test_models_that_are_none_are_refused_before_they_are_read_whole(tmp_path):
    """The library crashes on 2 GiB of zeros."""
    with (tmp_path / "sparse.model").open("wb") as stream:
        stream.truncate(2 << 30)
    with pytest.raises(DataError, match=r"sparse\.model \(it has more than 64 MiB"):
        SentencePieceVocabulary(tmp_path / "sparse.model")
    for content in (b"\xc3\x3e\xc4\x3e", b"\x0a\x7f"):  # a group, which the library skips; cut off
        with pytest.raises(DataError, match="SentencePiece model is damaged"):
            user_defined_pieces(content)


def texts_and_vocabulary(texts, path, size):
    train_vocabulary(texts, path, size=size)
    return SentencePieceVocabulary(path)


def test_long_documents_are_cut_and_not_left_out(tmp_path, prose):
    """A document over 1 MiB alone, a script of which every document is that long, and one without spaces."""
    long = " ".join(random.Random(0).choices(["bake", "limo", "nura", "seti", "voza"], k=220_000))
    assert len(long) > 1 << 20
    vocabulary = texts_and_vocabulary([long], tmp_path / "alone.model", 24)
    assert vocabulary.unk_id not in vocabulary.encode(long[:1000])
    script = "กขคงจฉช " * 100_000 + "ซฌญด" * 50_000
    mixed = texts_and_vocabulary([*prose(100, seed=0), script], tmp_path / "mixed.model", 120)
    assert mixed.unk_id not in mixed.encode("กขคงจฉช ซฌญดซฌ bake limo")


def test_words_in_a_row_without_spaces_get_their_pieces(tmp_path):
    """SentencePiece finds 42 pieces here if it is given the 60,000 characters as one word."""
    generator = random.Random(0)
    characters = [chr(0x4E00 + number) for number in range(32)]
    words = ["".join(generator.choices(characters, k=generator.randint(2, 6))) for _ in range(500)]
    unbroken = "".join(generator.choices(words, k=15_000))
    assert texts_and_vocabulary([unbroken], tmp_path / "a.model", 300).size == 400


def test_a_text_with_the_trainers_own_sign_is_trained_on(tmp_path, prose):
    texts = [f"▅ {text}" for text in prose(100, seed=0)]
    vocabulary = texts_and_vocabulary(texts, tmp_path / "a.model", 120)
    assert vocabulary.unk_id not in vocabulary.encode("bake limo")


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    texts=st.lists(st.text("abcäあい ", min_size=1, max_size=40), min_size=1, max_size=30),
    size=st.sampled_from([4, 7, 5000]),
)
def test_the_size_that_a_refusal_names_is_one_that_works(tmp_path_factory, texts, size):
    path = tmp_path_factory.mktemp("v") / "v.model"
    try:
        train_vocabulary([*texts, "abc"], path, size=size)
    except DataError as refused:
        named = int(re.search(r"use vocabulary_size=(\d+)", str(refused))[1])
        assert texts_and_vocabulary([*texts, "abc"], path, named).size == named + 100


def test_bytes_of_text_are_those_it_adds_behind_other_text(vocabulary, prose):
    (text,) = prose(1, seed=3)
    ids = vocabulary.encode(text)
    assert vocabulary.num_bytes(ids) == len(vocabulary.decode(ids).encode())
    for cut in range(1, len(ids)):
        parts = vocabulary.num_bytes(ids[:cut]), vocabulary.num_bytes(ids[cut:], goes_on=True)
        assert sum(parts) == vocabulary.num_bytes(ids)
