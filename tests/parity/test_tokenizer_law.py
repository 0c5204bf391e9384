"""The law of exported tokenizers: ``AutoTokenizer`` gives t5lite's ids, whatever the vocabulary and text."""

import functools
import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from t5lite.data.vocabulary import Frame, Vocabulary, open_vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.interop.huggingface.tokenizer_files import read_vocabulary, tokenizer_files
from t5lite.interop.huggingface.tokenizer_files.charsmap import read_rules
from t5lite.interop.huggingface.tokenizer_files.sentencepiece_model import read_model
from t5lite.models.config import Architecture
from tests.exported_tokenizers import MODEL_TYPES, export_tokenizer, load, train_sentencepiece
from tests.small_tokenizers import (
    write_bpe,
    write_bpe_with_bos,
    write_gemma,
    write_llama3,
    write_modernbert,
    write_qwen,
    write_roberta,
    write_unigram_with_sentinels,
    write_wordpiece,
)

REAL = (Path(__file__).parent / "real_lines.txt").read_text(encoding="utf-8").splitlines()
SCRIPTS = [
    "日本語のテキスト、カタカナとｶﾞｷﾞ。",
    "한국어 문장입니다. 각각 다른 글",
    "tiếng Việt có dấu đầy đủ ở đây",
    "नमस्ते दुनिया, क़लम और फ़र्क़",
    "Ελληνικά: ᾳ ῷ ΆΈ, İstanbul'da ışık",
    "שָׁלוֹם עוֹלָם، مرحبا بالعالم ﷺ ﻻ",
    "if a < b: c = </s> <s>strike</s> <pad> <unk> <0x41> <0x0A>",
    "one\ntwo\tthree\r\nfour ① ② Ａ ＜ Ⓜ️ ™️ ﬁ",
    "👨‍👩‍👧 🏽 🇩🇪 é́ [CTL] <ctl> <sep> [MASK] www WWW",
]
WHITE_SPACE = [chr(code) for code in range(0x110000) if chr(code).isspace()]
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
INVISIBLE = list("\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u2060\u2581\u2800\ufeff\ufffd")
NONCHARACTERS = list("\ufdd0\ufdd1\uffff\U000f0000\U000f0001\U000f0003\U000f003c")
SEPARATORS = WHITE_SPACE + CONTROLS + INVISIBLE + NONCHARACTERS
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
SPELLED = ["</s>", "<pad>", "<unk>", "<s>", "<0x41>", "<ctl>", "[CTL]", "<sep>", "ab", "<", "＜"]
PROMPTS = [
    "The <extra_id_0> of\u3000<extra_id_1>the <extra_id_2>",
    "<extra_id_3>",
    "a<extra_id_1><extra_id_0> b",
]
SENTENCEPIECE: dict[str, dict[str, Any]] = {
    "default": {},
    "byte_fallback": {
        "byte_fallback": True,
        "bos_id": 2,
        "unk_id": 3,
        "character_coverage": 0.99,
        "vocab_size": 800,
    },
    "identity": {"normalization_rule_name": "identity"},
    "nfkc": {"normalization_rule_name": "nfkc", "character_coverage": 0.98},
    "nmt_nfkc_cf": {"normalization_rule_name": "nmt_nfkc_cf"},
    "other_ids": {"unk_id": 5, "bos_id": 4, "control_symbols": ["<ctl>", "[CTL]"]},
    "symbols": {"user_defined_symbols": ["\n", "①", "Ａ", "<sep>", "ab"]},
    "symbols_as_they_are": {
        "normalization_rule_name": "identity",
        "user_defined_symbols": ["\t", "\u0085", "▁▁"],
    },
    "sentinels_of_its_own": {
        "user_defined_symbols": [f"<extra_id_{i}>" for i in range(9)] + ["<s>", "[SEP]"]
    },
    "no_dummy_prefix": {"add_dummy_prefix": False},
    "spaces_kept": {"remove_extra_whitespaces": False},
    "spaces_and_bytes": {
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "byte_fallback": True,
        "character_coverage": 0.98,
        "vocab_size": 800,
    },
    "across_words": {"split_by_whitespace": False},
    "merges": {"model_type": "bpe"},
    "merges_and_bytes": {
        "model_type": "bpe",
        "byte_fallback": True,
        "character_coverage": 0.98,
        "vocab_size": 900,
        "add_dummy_prefix": False,
    },
    "merges_and_symbols": {
        "model_type": "bpe",
        "vocab_size": 600,
        "user_defined_symbols": ["\n", "①", "Ａ", "<sep>", "ab", "<s>"],
    },
    "as_gemma": {
        "model_type": "bpe",
        "bos_id": 2,
        "unk_id": 3,
        "byte_fallback": True,
        "character_coverage": 0.98,
        "vocab_size": 900,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "user_defined_symbols": ["<mask>", "\n", "\n\n", "▁▁", "▁▁▁", "</b>"],
    },
    "merges_across_words": {"model_type": "bpe", "split_by_whitespace": False, "vocab_size": 700},
    "characters": {"model_type": "char"},
    "characters_and_symbols": {"model_type": "char", "user_defined_symbols": ["\n", "ab", "<sep>"]},
}
EXACT = ("merges", "as_gemma", "characters")
"""How the names of those begin whose pieces have an order, so that nothing can tie."""
TOKENIZER_JSON = {
    "wordpiece": lambda folder: write_wordpiece(folder, REAL, size=300),
    "bpe": lambda folder: write_bpe(folder, REAL),
    "bpe_with_bos": lambda folder: write_bpe_with_bos(folder, REAL),
    "unigram": lambda folder: write_unigram_with_sentinels(folder, sentinels=4),
    "t5gemma": lambda folder: write_gemma(folder, REAL),
    "llama": lambda folder: write_llama3(folder, REAL),
    "qwen2": lambda folder: write_qwen(folder, REAL),
    "modernbert": lambda folder: write_modernbert(folder, REAL),
    "roberta": lambda folder: write_roberta(folder, REAL),
}
"""Those of a family are exported with its type of model."""
_OF_FAMILIES: dict[str, Architecture] = {
    "t5gemma": "encoder_decoder",
    "llama": "decoder_only",
    "qwen2": "decoder_only",
    "modernbert": "encoder_only",
    "roberta": "encoder_only",
}
"""Of each kind those architectures that t5lite trains with it."""
CASES: list[tuple[str, Architecture]] = [
    *((name, "encoder_decoder") for name in (*SENTENCEPIECE, "bytes", "bpe", "unigram")),
    *(
        (name, "encoder_only")
        for name in ("default", "byte_fallback", "no_dummy_prefix", "bytes", "wordpiece", "unigram")
    ),
    *((name, "decoder_only") for name in ("default", "other_ids", "bytes", "bpe", "bpe_with_bos", "unigram")),
    *_OF_FAMILIES.items(),
]


def make_texts(seed: int) -> list[str]:
    """Every separator between, before and after words; scripts in all normal forms; mixtures of them."""
    rng = random.Random(seed)
    texts = [f"{char}a{char}{char} b{char}" for char in SEPARATORS]
    texts += [unicodedata.normalize(form, line) for form in FORMS for line in SCRIPTS + REAL[::40]]
    characters = [char for line in SCRIPTS for form in FORMS for char in unicodedata.normalize(form, line)]
    for _ in range(400):
        chosen = rng.choices(characters, k=6) + rng.choices(SEPARATORS, k=2) + rng.choices(SPELLED, k=1)
        rng.shuffle(chosen)
        text = "".join(chosen[: rng.randint(1, 9)])
        texts.append(unicodedata.normalize(rng.choice(FORMS), text) if rng.random() < 0.5 else text)
    return ["", " ", *SEPARATORS, *texts]


def make_vocabulary(name: str, folder: Path) -> Vocabulary:
    """Return the vocabulary of a name, trained in a folder."""
    if name in SENTENCEPIECE:
        return train_sentencepiece(folder, REAL + SCRIPTS * 8, extra_ids=None, **SENTENCEPIECE[name])
    return open_vocabulary("bytes" if name == "bytes" else TOKENIZER_JSON[name](folder))


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    """Return the vocabulary of a name, made once."""
    return functools.cache(lambda name: make_vocabulary(name, tmp_path_factory.mktemp(name)))


def expected_ids(
    vocabulary: Vocabulary, architecture: Architecture, text: str, *, parse_sentinels: bool = False
) -> list[int]:
    """What t5lite gives a model of an architecture for a text."""
    ids = vocabulary.encode(text, parse_sentinels=parse_sentinels).tolist()
    if architecture == "encoder_decoder":
        ended = Frame(after=(vocabulary.special_id("eos", needed_for="a test"),))
        return (vocabulary.own_frame or ended).around(np.array(ids, np.int32), 10**9).tolist()
    if architecture == "decoder_only":
        return [*vocabulary.prompt_prefix, *ids]
    _, cls, sep = special_tokens(vocabulary)
    return [cls, *ids, sep]


def finds_special_tokens(vocabulary: Vocabulary, architecture: Architecture) -> bool:
    """Whether a text that spells a special token is that token, unless ``split_special_tokens`` is given."""
    return vocabulary.kind == "tokenizer_json" or architecture == "encoder_only"


def is_tie(vocabulary: Vocabulary, ours: list[int], theirs: list[int]) -> bool:
    """The only deviation: the same pieces in another order, whose scores differ in rounding alone."""
    return vocabulary.kind == "sentencepiece" and sorted(ours) == sorted(theirs)


@pytest.mark.parametrize(("name", "architecture"), CASES)
def test_the_ids_are_t5lites(vocabularies, tmp_path, name, architecture):
    vocabulary = vocabularies(name)
    model_type = name if name in _OF_FAMILIES else None
    folder = export_tokenizer(vocabulary, tmp_path / "out", architecture, model_type)
    tokenizer = load(folder)
    texts = make_texts(CASES.index((name, architecture)))
    if finds_special_tokens(vocabulary, architecture):  # see below
        texts = [text for text in texts if not any(token in text for token in tokenizer.all_special_tokens)]
    wrong = []
    for text, theirs in zip(texts, tokenizer(texts)["input_ids"], strict=True):
        ours = expected_ids(vocabulary, architecture, text)
        if theirs != ours and (name.startswith(EXACT) or not is_tie(vocabulary, ours, theirs)):
            wrong.append((text, ours, theirs))
    assert not wrong, f"{len(wrong)} of {len(texts)}, such as {wrong[0]!a}"
    assert len(texts) > 500
    assert len(tokenizer) == vocabulary.size
    again = read_vocabulary(folder)
    assert again is not None
    assert again.kind == vocabulary.kind
    assert again.encode_batch(texts[::9])[3].tolist() == vocabulary.encode_batch(texts[::9])[3].tolist()


@pytest.mark.parametrize("architecture", MODEL_TYPES)
@pytest.mark.parametrize("name", ["default", "spaces_and_bytes", "bytes"])
def test_sentinels_are_found_and_special_tokens_are_text(vocabularies, tmp_path, name, architecture):
    """But an encoder's tokenizer must find its mask, and so finds every special token that a text spells."""
    vocabulary = vocabularies(name)
    tokenizer = load(export_tokenizer(vocabulary, tmp_path / "out", architecture))
    for text in PROMPTS:
        ours = expected_ids(vocabulary, architecture, text, parse_sentinels=True)
        assert tokenizer(text)["input_ids"] == ours
    text = "<s>strike</s> and <pad>"
    ours = expected_ids(vocabulary, architecture, text)
    assert (tokenizer(text)["input_ids"] == ours) == (architecture != "encoder_only")
    assert tokenizer(text, split_special_tokens=True)["input_ids"] == ours


@pytest.mark.parametrize(("name", "architecture"), [("bpe", "decoder_only"), ("wordpiece", "encoder_only")])
def test_a_tokenizer_json_finds_special_tokens_unless_told(vocabularies, tmp_path, name, architecture):
    vocabulary = vocabularies(name)
    tokenizer = load(export_tokenizer(vocabulary, tmp_path / "out", architecture))
    text = f"one {tokenizer.unk_token} two"
    assert tokenizer.unk_token_id in tokenizer(text, add_special_tokens=False)["input_ids"]
    split = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert split == vocabulary.encode(text).tolist()


def test_pairs_are_framed_as_in_training(vocabularies, tmp_path):
    vocabulary = vocabularies("default")
    mask, cls, sep = special_tokens(vocabulary)
    first, second = (vocabulary.encode(text).tolist() for text in ("the first", "a second one"))
    tokenizer = load(export_tokenizer(vocabulary, tmp_path / "out", "encoder_only"))
    pair = tokenizer("the first", "a second one")
    assert pair["input_ids"] == [cls, *first, sep, *second, sep]
    assert pair["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert (tokenizer.mask_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id) == (mask, cls, sep)


@pytest.mark.parametrize("name", ["roberta", "default"])
def test_a_model_without_types_of_tokens_is_given_none(vocabularies, tmp_path, name):
    """RoBERTa's table of types has one row, ModernBERT has none; RoBERTa's pairs stay as they are."""
    vocabulary = vocabularies(name)
    _, cls, sep = special_tokens(vocabulary)
    for file, content in tokenizer_files(vocabulary, "encoder_only", token_types=False).items():
        (tmp_path / file).write_bytes(content)
    pair = load(tmp_path)("the first", "a second one")
    first, second = (vocabulary.encode(text).tolist() for text in ("the first", "a second one"))
    between = [sep] * (2 if name == "roberta" else 1)
    assert pair["input_ids"] == [cls, *first, *between, *second, sep]
    assert "token_type_ids" not in pair


def test_every_rule_of_the_normalisation_is_kept(vocabularies, tmp_path):
    """All characters, and all sequences that are rules: 220,000, most of them Hangul."""
    vocabulary = vocabularies("default")
    folder = export_tokenizer(vocabulary, tmp_path / "out")
    normalizer = Tokenizer.from_file(str(folder / "tokenizer.json")).normalizer
    rules = read_rules(read_model(vocabulary.model_bytes, vocabulary.path).charsmap)
    sequences = [key for key in rules if len(key) > 1]
    assert len(sequences) > 200_000
    codes = (*range(1, 0xD800), *range(0xE000, 0x32000), *range(0xE0000, 0xE0200))
    every = [chr(code) for code in codes if chr(code) not in "<＜"] + sequences
    for start in range(0, len(every), 500):
        text = "x".join(every[start : start + 500])
        ours = vocabulary._processor.normalize(text).replace("<", "＜")
        assert normalizer.normalize_str(text) == ours, ascii(text)


def test_an_order_of_the_same_pieces_may_differ(tmp_path):
    """SentencePiece adds scores in 32 bits, tokenizers in 64: ``w`` + ``ww`` and ``ww`` + ``w`` are a tie."""
    lines = ["w ww x y z"] * 9 + REAL
    vocabulary = train_sentencepiece(tmp_path, lines, vocab_size=300)
    tokenizer = load(export_tokenizer(vocabulary, tmp_path / "out"))
    texts = [line[start:] for line in REAL for start in (0, 7)] + [f"{line} www" for line in REAL]
    pairs = zip(
        vocabulary.encode_batch(texts), tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True
    )
    differ = [(ours.tolist(), theirs) for ours, theirs in pairs if ours.tolist() != theirs]
    assert all(is_tie(vocabulary, ours, theirs) for ours, theirs in differ)
    assert len(differ) <= len(texts) // 100
