"""AutoTokenizer on an exported folder equals the vocabulary, on real text and on characters it never saw.

``real_lines.txt``: verses of the World English Bible and of Reina-Valera 1909, paragraphs by Jane Austen;
all in the public domain.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from t5lite.core.errors import DataError
from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary
from t5lite.interop.huggingface.tokenizer_files import read_vocabulary, write_tokenizer

LINES = (Path(__file__).parent / "real_lines.txt").read_text(encoding="utf-8").splitlines()
UNUSUAL = [
    "",
    " ",
    "  lead   and trail  ",
    "tab\tnew\nline\r\nno-break\u00a0ideographic\u3000space",
    "日本語 text 🤖🤖 ok नमस्ते",
    "👨‍👩‍👧 family",
    "ﬁnancial Ⅷ ① ½ ₀¹ ＦＵＬＬ ﷺ",
    "e\u0301l nin\u0303o y \u00e9l ni\u00f1o",
    "zero\u200bwidth, soft\u00adhyphen, \ufeffmark, \x01\x02control",
    "“quoted” — dash…",
    "¿Qué? ¡Año! Ñandú, pingüino",
]
EXTRA_IDS = 20


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    train_vocabulary(LINES[::2], path, size=400, character_coverage=0.999)
    return SentencePieceVocabulary(path, extra_ids=EXTRA_IDS)


@pytest.fixture(scope="session")
def folder(vocabulary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(vocabulary, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "t5"}))
    return folder


@pytest.fixture(scope="session")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def expected_ids(vocabulary, texts):
    return [[*ids.tolist(), vocabulary.eos_id] for ids in vocabulary.encode_batch(texts)]


def test_real_lines_have_the_same_ids(vocabulary, tokenizer):
    expected = expected_ids(vocabulary, LINES)
    assert tokenizer(LINES)["input_ids"] == expected
    assert any(vocabulary.unk_id in ids for ids in expected), "the fixture should meet unknown characters"


@pytest.mark.parametrize("text", UNUSUAL)
def test_unusual_characters_have_the_same_ids(vocabulary, tokenizer, text):
    assert tokenizer(text)["input_ids"] == expected_ids(vocabulary, [text])[0]


def test_tokenizer_json_alone_says_the_same(vocabulary, folder):
    """What readers without a T5 class (other languages, transformers 4's fast tokenizer) go by."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    assert tokenizer(LINES + UNUSUAL)["input_ids"] == expected_ids(vocabulary, LINES + UNUSUAL)


def test_special_tokens_are_those_of_the_vocabulary(vocabulary, tokenizer):
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert len(tokenizer) == vocabulary.size
    names = [f"<extra_id_{i}>" for i in range(EXTRA_IDS)]
    sentinels = [vocabulary.sentinel(i) for i in range(EXTRA_IDS)]
    assert sentinels[0] == vocabulary.size - 1
    assert tokenizer.convert_tokens_to_ids(names) == sentinels
    prompt = "the <extra_id_0> of the <extra_id_1>"
    assert tokenizer(prompt)["input_ids"][:-1] == vocabulary.encode(prompt, parse_sentinels=True).tolist()


def test_decoding_gives_the_same_text(vocabulary, tokenizer):
    ids = [row for row in expected_ids(vocabulary, LINES) if vocabulary.unk_id not in row]
    assert len(ids) > 200
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == [vocabulary.decode(row) for row in ids]


def test_saving_again_by_transformers_keeps_it(vocabulary, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert again(LINES)["input_ids"] == expected_ids(vocabulary, LINES)


def test_vocabulary_comes_back_with_its_sentinels(vocabulary, folder, tmp_path):
    again = read_vocabulary(folder)
    assert again is not None
    assert again.fingerprint == vocabulary.fingerprint
    assert read_vocabulary(tmp_path) is None


def test_damaged_tokenizer_config_is_named(vocabulary, tmp_path):
    write_tokenizer(vocabulary, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"extra_ids": "many"}')
    with pytest.raises(DataError, match="extra_ids='many' must be an integer"):
        read_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"extra_ids"')
    with pytest.raises(DataError, match=r"tokenizer_config\.json is damaged"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "bpe"}, "not a unigram model"),
        ({"add_dummy_prefix": False}, "add_dummy_prefix=false"),
        ({"remove_extra_whitespaces": False}, "remove_extra_whitespaces=false"),
    ],
)
def test_a_vocabulary_that_transformers_would_read_otherwise_is_refused(tmp_path, options, message):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_prefix=str(tmp_path / "other"),
        vocab_size=400,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        **options,
    )
    with pytest.raises(DataError, match=message):
        write_tokenizer(SentencePieceVocabulary(tmp_path / "other.model"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_byte_fallback_and_a_bos_are_kept(tmp_path):
    """As in umT5's vocabulary: characters without a piece become bytes, and UNK is 3, behind a BOS."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_prefix=str(tmp_path / "fallback"),
        vocab_size=600,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        byte_fallback=True,
        minloglevel=2,
    )
    vocabulary = SentencePieceVocabulary(tmp_path / "fallback.model", extra_ids=8)
    assert (vocabulary.bos_id, vocabulary.unk_id) == (2, 3)
    write_tokenizer(vocabulary, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "umt5"}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    expected = expected_ids(vocabulary, LINES + UNUSUAL)
    assert tokenizer(LINES + UNUSUAL)["input_ids"] == expected
    assert not any(vocabulary.unk_id in ids for ids in expected)
    decoded = tokenizer.batch_decode(expected, skip_special_tokens=True)
    assert decoded == [vocabulary.decode(ids) for ids in expected]


def test_without_a_normalizer_charsmap_text_is_taken_as_it_is(tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_prefix=str(tmp_path / "identity"),
        vocab_size=400,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    vocabulary = SentencePieceVocabulary(tmp_path / "identity.model", extra_ids=0)
    write_tokenizer(vocabulary, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    texts = [*LINES, "ﬁnancial Ⅷ"]
    assert tokenizer(texts)["input_ids"] == expected_ids(vocabulary, texts)
    assert np.array_equal(vocabulary.encode("ﬁ"), tokenizer("ﬁ")["input_ids"][:-1])
