"""Where each token stands in a text: what is pointed at by tokens is read in the text itself."""

import io
from itertools import groupby, pairwise
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.data.vocabulary import ByteVocabulary, SentencePieceVocabulary, Vocabulary, open_vocabulary
from tests.small_tokenizers import write_bpe, write_wordpiece

KINDS = ("bytes", "byte_fallback", "no_fallback", "byte_level_bpe", "wordpiece")


def sentencepiece_model(path: Path, texts: list[str], *, byte_fallback: bool) -> Path:
    """Write a model as T5's is trained: NFKC, white space made one, a space in front."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=320,
        byte_fallback=byte_fallback,
        hard_vocab_limit=False,
        minloglevel=2,
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    )
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory, prose) -> dict[str, Vocabulary]:
    folder, texts = tmp_path_factory.mktemp("vocabularies"), prose(200, seed=0)
    with_bytes, without = (
        SentencePieceVocabulary(
            sentencepiece_model(folder / f"{byte_fallback}.model", texts, byte_fallback=byte_fallback)
        )
        for byte_fallback in (True, False)
    )
    bpe, wordpiece = folder / "bpe", folder / "wordpiece"
    for each in (bpe, wordpiece):
        each.mkdir()
    json_files = (write_bpe(bpe, texts), write_wordpiece(wordpiece, texts))
    found = (ByteVocabulary(), with_bytes, without, *map(open_vocabulary, json_files))
    return dict(zip(KINDS, found, strict=True))


ANY_TEXT = st.text(
    st.characters(exclude_categories=("Cs",)) | st.sampled_from("ab ½ﬁ㈱é\u0301\u200b\u00a0 語😀\n"),
    max_size=24,
)


@pytest.mark.parametrize("kind", KINDS)
@given(text=ANY_TEXT)
@settings(max_examples=60, deadline=None)
def test_tokens_are_those_of_the_text_and_their_places_ascend(vocabularies, kind, text):
    ids, begins = vocabularies[kind].encode_with_offsets(text)
    np.testing.assert_array_equal(ids, vocabularies[kind].encode(text))
    assert ids.dtype == np.int32
    assert len(begins) == len(ids)
    assert all(0 <= before <= after < len(text) for before, after in pairwise([0, *begins.tolist()]) if text)


@pytest.mark.parametrize("kind", KINDS)
@given(text=ANY_TEXT)
@settings(max_examples=60, deadline=None)
def test_tokens_that_begin_at_one_place_stand_for_the_text_from_there_to_the_next(vocabularies, kind, text):
    """Decoded, the tokens are what the vocabulary makes of that part of the text; WordPiece drops accents.

    A token may hold what is before a character and the first of several that this one is normalised to (of
    1¼, 11 and ⁄4): such tokens are taken together.
    """
    vocabulary = vocabularies[kind]
    ids, begins = (each.tolist() for each in vocabulary.encode_with_offsets(text))
    is_sure = [not i or len(normalize("NFKC", text[begin])) == 1 for i, begin in enumerate(begins)]
    starts = np.maximum.accumulate(np.where(is_sure, begins, 0)).tolist()
    groups = [
        (begin, [ids[i] for i in places]) for begin, places in groupby(range(len(ids)), starts.__getitem__)
    ]
    for (begin, tokens), (end, _) in pairwise([*groups, (len(text), [])]):
        if vocabulary.unk_id in tokens:
            continue
        part = text[begin:end]
        told = [vocabulary.decode(each).replace("##", "") for each in (tokens, vocabulary.encode(part))]
        assert len({"".join(each.split()) for each in told}) == 1, (part, told)


def test_characters_that_are_several_tokens_or_none(vocabularies):
    ids, begins = vocabularies["byte_fallback"].encode_with_offsets("  ba ½ 語\u0301 ké")
    assert begins.tolist()[0] == 2, "white space in front has no token"
    names = [vocabularies["byte_fallback"].token_text(token) for token in ids.tolist()]
    assert begins.tolist().count(7) == 3, (names, "the bytes of a character")
    assert begins.tolist().count(5) >= 3, (names, "1⁄2")
    _, begins = vocabularies["wordpiece"].encode_with_offsets("ba\u0301 ke")
    assert begins.tolist()[-1] == 4, "an accent that is dropped has none"
