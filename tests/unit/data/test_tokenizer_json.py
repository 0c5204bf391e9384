import contextlib
import json
import pickle
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from t5lite.core.errors import ConfigError, DataError, UserError
from t5lite.data.vocabulary import TokenizerJsonVocabulary, open_vocabulary
from tests.small_tokenizers import (
    write_bpe,
    write_bpe_with_bos,
    write_unigram_with_sentinels,
    write_wordpiece,
)


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory, prose):
    return open_vocabulary(write_wordpiece(tmp_path_factory.mktemp("wordpiece"), prose(300, seed=0)))


@pytest.fixture(scope="module")
def bpe(tmp_path_factory, prose):
    return open_vocabulary(write_bpe(tmp_path_factory.mktemp("bpe"), prose(300, seed=0)))


def test_special_tokens_by_their_usual_names(wordpiece):
    found = [getattr(wordpiece, f"{name}_id") for name in ("pad", "unk", "cls", "sep", "mask", "eos", "bos")]
    assert found == [0, 1, 2, 3, 4, None, None]
    assert len(wordpiece.text_ids) == wordpiece.size == 200
    with pytest.raises(ConfigError, match=r"no eos token, which pairs needs.*name its eos_token in tok"):
        wordpiece.special_id("eos", needed_for="pairs")


def test_special_tokens_by_the_config(bpe):
    end = bpe.encode("<|endoftext|>", parse_sentinels=True).tolist()
    assert end == [bpe.eos_id] == [bpe.bos_id] == [bpe.unk_id]
    assert bpe.pad_id is bpe.mask_id is None


def test_nothing_is_added_and_nothing_cut(wordpiece):
    text = "bake limo " * 100
    ids = wordpiece.encode(text)
    assert len(ids) > 64
    assert not set(ids.tolist()) & {wordpiece.cls_id, wordpiece.sep_id, wordpiece.pad_id}
    assert wordpiece.decode(ids).split() == text.split()
    for threads in (None, 1):
        np.testing.assert_array_equal(wordpiece.encode_batch([text, ""], threads)[0], ids)


def test_the_prefix_of_a_prompt_is_what_the_tokenizer_puts_in_front(wordpiece, bpe, prose, tmp_path):
    llama = open_vocabulary(write_bpe_with_bos(tmp_path, prose(300, seed=0)))
    text = "bake limo"
    library = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert library.encode(text).ids == [*llama.prompt_prefix, *llama.encode(text)]
    assert llama.prompt_prefix == (llama.bos_id,)
    assert pickle.loads(pickle.dumps(llama)).prompt_prefix == llama.prompt_prefix
    assert (wordpiece.prompt_prefix, bpe.prompt_prefix) == ((wordpiece.cls_id,), ())
    assert open_vocabulary("bytes").prompt_prefix == ()


def test_a_vocabulary_that_knows_no_letter_has_no_prefix(tmp_path):
    Tokenizer(models.BPE(vocab={"б": 0}, merges=[])).save(str(tmp_path / "tokenizer.json"))
    assert open_vocabulary(tmp_path).prompt_prefix == ()


def test_special_tokens_in_a_text_are_text_unless_asked_for(wordpiece, bpe):
    assert wordpiece.mask_id not in wordpiece.encode("bake [MASK] limo")
    assert wordpiece.mask_id in wordpiece.encode("bake [MASK] limo", parse_sentinels=True)
    assert bpe.eos_id not in bpe.encode("<|endoftext|>")
    assert bpe.decode(bpe.encode("<|endoftext|>")) == "<|endoftext|>"


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_bytes_of_a_bpe_come_back_exactly(bpe, text):
    ids = bpe.encode(text)
    assert ids.dtype == np.int32
    assert bpe.decode([*ids, bpe.eos_id]) == text


@settings(deadline=None, max_examples=50)
@given(st.text("bake limo nu\t ", min_size=1))
def test_a_wordpiece_gives_back_what_it_normalises_to(wordpiece, text):
    assert wordpiece.decode(wordpiece.encode(text)) == " ".join(unicodedata.normalize("NFC", text).split())


def test_decoding_drops_the_frame_and_keeps_masks(wordpiece):
    ids = [2, *wordpiece.encode("bake"), 4, 3, 0, 0]
    assert wordpiece.decode(ids) == "bake [MASK]"
    assert wordpiece.decode([wordpiece.size + 5]) == "[UNK]"


def test_an_id_beyond_a_vocabulary_without_unk_vanishes(bpe):
    assert bpe.decode([*bpe.encode("a"), bpe.size + 5]) == "a"


def test_sentinels_are_those_that_descend_from_the_top(tmp_path):
    vocabulary = open_vocabulary(write_unigram_with_sentinels(tmp_path, sentinels=4))
    assert (vocabulary.size, vocabulary.sentinel_ids.tolist()) == (10, [9, 8, 7, 6])
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)
    ids = vocabulary.encode("a<extra_id_1>b", parse_sentinels=True)
    assert vocabulary.sentinel(1) in ids
    with pytest.raises(ConfigError, match=r"extra_ids=100, but .* has 4 sentinels"):
        open_vocabulary(tmp_path, 100)


def test_fingerprint_covers_tokens_and_special_tokens(bpe, tmp_path, prose):
    assert pickle.loads(pickle.dumps(bpe)).fingerprint == bpe.fingerprint
    bpe.write(tmp_path)
    assert open_vocabulary(tmp_path).fingerprint == bpe.fingerprint
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()), indent=4))
    assert open_vocabulary(tmp_path).fingerprint == bpe.fingerprint
    config.write_text(json.dumps({"eos_token": None}))
    assert open_vocabulary(tmp_path).fingerprint != bpe.fingerprint
    assert open_vocabulary(tmp_path).eos_id is None
    write_bpe(tmp_path, prose(300, seed=0), size=290)
    assert open_vocabulary(tmp_path).fingerprint != bpe.fingerprint


def test_unusable_files_are_refused(tmp_path, prose):
    with pytest.raises(DataError, match="cannot read"):
        TokenizerJsonVocabulary(tmp_path / "missing.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"is not a usable tokenizer\.json"):
        open_vocabulary(tmp_path)
    write_wordpiece(tmp_path, prose(50, seed=0))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<nothing>"}))
    with pytest.raises(DataError, match=r"names the pad_token '<nothing>', which .* does not have"):
        open_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(DataError, match=r"tokenizer_config\.json is damaged"):
        open_vocabulary(tmp_path)


JUNK = [
    None,
    True,
    5,
    "x",
    "[MASK]",
    [],
    ["x"],
    [5],
    {},
    {"x": 5},
    {"5": {}},
    {"content": []},
    [{"id": "x"}],
    [[1]],
]
KEYS = {
    "tokenizer.json": ["added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"],
    "tokenizer_config.json": [
        *("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "pad_token"),
        *("tokenizer_class", "do_lower_case", "strip_accents", "extra_ids"),
    ],
    "special_tokens_map.json": ["pad_token", "mask_token", "additional_special_tokens"],
    "added_tokens.json": ["<city>"],
    "config.json": ["model_type", "tokenizer_class"],
}


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in KEYS.items() for key in keys])
def test_whatever_a_file_holds_there_is_a_vocabulary_or_a_message(name, key, tmp_path, prose):
    write_wordpiece(tmp_path, prose(50, seed=0))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    there = json.loads((tmp_path / name).read_text()) if (tmp_path / name).is_file() else {}
    for value in JUNK:
        (tmp_path / name).write_text(json.dumps(there | {key: value}))
        with contextlib.suppress(UserError):
            open_vocabulary(tmp_path).encode("bake")
    for content in ("[]", "5", "{", b"\xff".decode("latin-1")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=r"damaged"):
            open_vocabulary(tmp_path)


def test_without_the_library_the_extra_is_named(tmp_path, prose, monkeypatch):
    write_wordpiece(tmp_path, prose(50, seed=0))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"pip install 't5lite\[tokenizers\]'"):
        open_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda it: it["post_processor"]["special_tokens"].clear(), "not a usable"),  # the library panics
        (lambda it: it["model"]["vocab"].update({"zz": 1 << 31}), r"has the id 2147483648; allowed: up to"),
        (lambda it: it["added_tokens"][0].update(content=1.5), "not a usable tokenizer"),
    ],
)  # fmt: skip
def test_what_the_library_would_not_survive_is_refused(tmp_path, prose, change, message):
    file = write_wordpiece(tmp_path, prose(50, seed=0), size=100) / "tokenizer.json"
    description = json.loads(file.read_text())
    change(description)
    file.write_text(json.dumps(description))
    with pytest.raises(DataError, match=message):
        open_vocabulary(file)
