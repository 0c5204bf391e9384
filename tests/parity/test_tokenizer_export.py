"""AutoTokenizer on an exported folder equals the vocabulary, on real text and on characters it never saw.

``real_lines.txt``: verses of the World English Bible and of Reina-Valera 1909, paragraphs by Jane Austen;
all in the public domain.
"""

from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from t5lite.core.errors import DataError
from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary
from t5lite.interop.huggingface.tokenizer_files import read_vocabulary, tokenizer_files
from tests.exported_tokenizers import export_tokenizer, load, train_sentencepiece

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
    return export_tokenizer(vocabulary, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def tokenizer(folder):
    return load(folder)


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
    again = load(tmp_path)
    assert again(LINES)["input_ids"] == expected_ids(vocabulary, LINES)


def test_vocabulary_comes_back_with_its_sentinels(vocabulary, folder, tmp_path):
    again = read_vocabulary(folder)
    assert again is not None
    assert again.fingerprint == vocabulary.fingerprint
    assert read_vocabulary(tmp_path) is None


def test_damaged_tokenizer_config_is_named(vocabulary, tmp_path):
    export_tokenizer(vocabulary, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"extra_ids": "many"}')
    with pytest.raises(DataError, match="extra_ids='many' must be an integer"):
        read_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"extra_ids"')
    with pytest.raises(DataError, match=r"tokenizer_config\.json is damaged"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "word"}, "has model_type=word"),
        ({"treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix=true"),
        ({"user_defined_symbols": ["①②"]}, r"symbol '\\u2460\\u2461' would be normalised to '12'"),
        ({"user_defined_symbols": ["①", "a①"]}, r"symbol '\\u2460' would be normalised to '1'"),
    ],
)
def test_a_vocabulary_that_no_tokenizer_json_can_be_is_refused(tmp_path, options, message):
    vocabulary = train_sentencepiece(tmp_path, LINES, **options)
    with pytest.raises(DataError, match=message):
        tokenizer_files(vocabulary, "encoder_decoder")


@pytest.mark.parametrize(
    ("rules", "refusal"),
    [
        ("41\t61\n1F600\t3A 29\n", None),
        ("41\t61\n61 301\tE1\n", r"leaves '\\u0340', which NFC changes"),
    ],
)
def test_normalisation_rules_of_ones_own_are_kept_or_refused(tmp_path, rules, refusal):
    (tmp_path / "rules.tsv").write_text(rules)
    vocabulary = train_sentencepiece(tmp_path, LINES, normalization_rule_tsv=str(tmp_path / "rules.tsv"))
    if refusal:
        with pytest.raises(DataError, match=refusal):
            tokenizer_files(vocabulary, "encoder_decoder")
        return
    tokenizer = load(export_tokenizer(vocabulary, tmp_path / "out"))
    texts = [*LINES[::9], *UNUSUAL, "A\u0301 and A\u200d\U0001f600\u0301 \u212b"]
    assert tokenizer(texts)["input_ids"] == expected_ids(vocabulary, texts)


def test_byte_fallback_and_a_bos_are_kept(tmp_path):
    """As in umT5's vocabulary: characters without a piece become bytes, and UNK is 3, behind a BOS."""
    vocabulary = train_sentencepiece(
        tmp_path, LINES, extra_ids=8, vocab_size=600, bos_id=2, unk_id=3, byte_fallback=True
    )
    assert (vocabulary.bos_id, vocabulary.unk_id) == (2, 3)
    tokenizer = load(export_tokenizer(vocabulary, tmp_path / "out", model_type="umt5"))
    expected = expected_ids(vocabulary, LINES + UNUSUAL)
    assert tokenizer(LINES + UNUSUAL)["input_ids"] == expected
    assert not any(vocabulary.unk_id in ids for ids in expected)
    decoded = tokenizer.batch_decode(expected, skip_special_tokens=True)
    assert decoded == [vocabulary.decode(ids) for ids in expected]


def test_without_a_normalizer_charsmap_text_is_taken_as_it_is(tmp_path):
    vocabulary = train_sentencepiece(tmp_path, LINES, extra_ids=0, normalization_rule_name="identity")
    tokenizer = load(export_tokenizer(vocabulary, tmp_path / "out"))
    texts = [*LINES, "ﬁnancial Ⅷ"]
    assert tokenizer(texts)["input_ids"] == expected_ids(vocabulary, texts)
    assert np.array_equal(vocabulary.encode("ﬁ"), tokenizer("ﬁ")["input_ids"][:-1])
