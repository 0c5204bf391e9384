import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.vocabulary import ByteVocabulary, open_vocabulary

VOCABULARY = ByteVocabulary()


def test_byt5_conventions():
    assert VOCABULARY.size == 384
    assert (VOCABULARY.pad_id, VOCABULARY.eos_id, VOCABULARY.unk_id) == (0, 1, 2)
    assert VOCABULARY.sentinel_ids.min() == 259
    assert (VOCABULARY.sentinel(0), VOCABULARY.sentinel(124)) == (383, 259)
    assert VOCABULARY.encode("aé").tolist() == [100, 198, 172]
    assert VOCABULARY.mask_id is VOCABULARY.bos_id is None
    with pytest.raises(ConfigError, match="has 125"):
        VOCABULARY.sentinel(125)


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_every_text_comes_back_exactly(text):
    ids = VOCABULARY.encode(text)
    assert ids.dtype == np.int32
    assert ((ids >= 3) & (ids < 259)).all()
    assert VOCABULARY.decode(ids) == text
    np.testing.assert_array_equal(VOCABULARY.encode_batch([text, "x"])[0], ids)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(st.text(max_size=5), st.integers(0, 124))))
def test_parsed_sentinels_come_back_with_the_white_space_around_them(parts):
    text = "".join(part if isinstance(part, str) else f"<extra_id_{part}>" for part in parts)
    ids = VOCABULARY.encode(text, parse_sentinels=True)
    assert VOCABULARY.decode(ids) == text
    assert (ids >= 259).sum() == sum(isinstance(part, int) for part in parts)


def test_what_is_no_text_decodes_to_nothing_or_a_mark():
    ids = [*VOCABULARY.encode("a"), 1, 0, 2, 500, 0xFF + 3, *VOCABULARY.encode("b")]
    assert VOCABULARY.decode(ids) == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"
    assert VOCABULARY.decode(VOCABULARY.encode("é")[:1]) == ""
    assert VOCABULARY.decode(VOCABULARY.encode("a\ud800")) == "a?"


def test_fingerprint_depends_on_the_sentinels_alone(tmp_path):
    VOCABULARY.write(tmp_path)
    for same in (
        open_vocabulary("bytes"),
        open_vocabulary(tmp_path),
        open_vocabulary(tmp_path / "bytes.json"),
        pickle.loads(pickle.dumps(VOCABULARY)),
        pickle.loads(pickle.dumps(open_vocabulary(tmp_path))),
    ):
        assert isinstance(same, ByteVocabulary)
        assert same.fingerprint == VOCABULARY.fingerprint
    assert open_vocabulary("bytes", 5).fingerprint != VOCABULARY.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("{", "does not describe"),
        ('{"kind": "bytes"}', "does not describe"),
        ("[]", "does"),
    ],
)
def test_damaged_markers_are_refused(tmp_path, content, message):
    path = tmp_path / "bytes.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        open_vocabulary(path)


def test_a_missing_special_token_names_its_user():
    with pytest.raises(ConfigError, match="bytes has no mask token, which masked LM needs"):
        VOCABULARY.special_id("mask", needed_for="masked LM")
    assert VOCABULARY.special_id("eos", needed_for="anything") == 1
