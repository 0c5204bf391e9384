"""A text that spells a special token or a sentinel is ordinary text, whatever the vocabulary."""

import io
import json
import re
import string

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from t5lite.data.prepare import write_pair_store, write_text_store
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import SentencePieceVocabulary, open_vocabulary
from tests.small_tokenizers import (
    write_bpe,
    write_bpe_with_bos,
    write_bpe_with_byte_fallback,
    write_wordpiece,
)

SENTINELS = [f"<extra_id_{index}>" for index in range(3)]
SPECIALS = ["<pad>", "</s>", "<unk>", "<s>", "<mask>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NAMES = [*SPECIALS, *SENTINELS, "<|endoftext|>"]
LETTERS = string.ascii_letters + string.digits + string.punctuation + "▁"
TEXTS = [
    " ".join(LETTERS),
    LETTERS,
    LETTERS[::-1],
    "the cat sat on the mat and said nothing at all to the other cat",
    *map(" ".join, NAMES),
] * 3


def _sentencepiece(folder, **options):
    model = io.BytesIO()
    defaults = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "pad_piece": "<pad>", "vocab_size": 200}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=model,
        hard_vocab_limit=False,
        minloglevel=2,
        **(defaults | options),
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    return folder


def _unigram(folder, *, special):
    """A T5 whose folder lost its spiece.model: every name is a piece with a score that text cannot beat."""
    names = [*reversed(SENTINELS), "<mask>", "<s>"]
    letters = [(character, -3.0) for character in sorted(LETTERS)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters, *((name, 0.0) for name in names)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    if special:
        tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", *names])
    else:
        tokenizer.add_tokens(names)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _words(folder):
    """A WordPiece that finds a special token as the word it is."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIALS[5:], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _whole_words(folder):
    """A BPE that looks up whole words before it merges, and whose merges make a special token."""
    write_bpe(folder, TEXTS, size=400)
    description = json.loads((folder / "tokenizer.json").read_text())
    model = description["model"]
    model["ignore_merges"] = True
    for name in ("<s>", "<mask>"):
        parts = list(name)
        while len(parts) > 1:
            model["merges"].append(parts[:2])
            parts[:2] = ["".join(parts[:2])]
            model["vocab"].setdefault(parts[0], len(model["vocab"]))
    description["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    (folder / "tokenizer.json").write_text(json.dumps(description))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "mask_token": "<mask>"}))
    return folder


MAKERS = {
    "sentencepiece": _sentencepiece,
    "with a BOS": lambda folder: _sentencepiece(folder, bos_id=3),
    "with sentinels as symbols": lambda folder: _sentencepiece(folder, user_defined_symbols=SENTINELS),
    "with specials as symbols": lambda folder: _sentencepiece(
        folder, user_defined_symbols=[*SENTINELS[::-1], "<s>", "[MASK]", "[CLS]", "[SEP]"]
    ),
    "with sentinels as control symbols": lambda folder: _sentencepiece(folder, control_symbols=SENTINELS),
    "BPE of SentencePiece": lambda folder: _sentencepiece(
        folder, model_type="bpe", user_defined_symbols=SENTINELS
    ),
    "bytes": lambda folder: "bytes",
    "WordPiece": lambda folder: write_wordpiece(folder, TEXTS, size=300),
    "WordPiece of words": _words,
    "GPT-2": lambda folder: write_bpe(folder, TEXTS, size=400),
    "Llama 3": lambda folder: write_bpe_with_bos(folder, TEXTS, size=400),
    "Llama 2": lambda folder: write_bpe_with_byte_fallback(folder, TEXTS, size=600),
    "BPE of whole words": _whole_words,
    "T5's tokenizer.json": lambda folder: _unigram(folder, special=True),
    "T5's tokenizer.json, nothing special": lambda folder: _unigram(folder, special=False),
}


@pytest.fixture(scope="module", params=list(MAKERS))
def any_vocabulary(request, tmp_path_factory):
    return open_vocabulary(MAKERS[request.param](tmp_path_factory.mktemp("vocabulary")))


def special_ids(vocabulary):
    """The ids that no text of known characters may have."""
    tokens = ("pad", "eos", "unk", "bos", "cls", "sep", "mask")
    named = [getattr(vocabulary, f"{token}_id") for token in tokens]
    return {*vocabulary.sentinel_ids.tolist(), *named} - {None}


def squeezed(text):
    return re.sub(r"[\s▁]", "", text).lower()


spelling = st.lists(
    st.sampled_from([*NAMES, "the", "cat", " ", "▁", "<", ">", "extra_id_1", "S"]), max_size=8
)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(parts=spelling, separator=st.sampled_from(["", " "]))
def test_no_text_has_the_id_of_a_special_token(any_vocabulary, parts, separator):
    text = separator.join(parts)
    ids = any_vocabulary.encode(text)
    assert special_ids(any_vocabulary).isdisjoint(ids.tolist())
    assert squeezed(any_vocabulary.decode(ids)) == squeezed(text)
    for threads in (None, 1):
        np.testing.assert_array_equal(any_vocabulary.encode_batch([text, text], threads)[1], ids)
        np.testing.assert_array_equal(any_vocabulary.encode_joined([text], threads)[0], ids)


def test_prompts_have_the_ids(any_vocabulary):
    prompt = " ".join(["the", *SENTINELS[: any_vocabulary.extra_ids], "cat"])
    ids = any_vocabulary.encode(prompt, parse_sentinels=True).tolist()
    assert [token for token in ids if token in any_vocabulary.sentinel_ids] == (
        any_vocabulary.sentinel_ids[: len(SENTINELS)].tolist()
    )
    assert squeezed(any_vocabulary.decode(ids)) == squeezed(prompt)


NO_SENTINELS = [
    "<extra_id_999999>",
    "<extra_id_01>",
    "<extra_id_>",
    "<extra_id_٣>",
    f"<extra_id_{'9' * 5000}>",
]


@settings(deadline=None, max_examples=25, derandomize=True)
@given(parts=st.lists(st.sampled_from([*SENTINELS, *NO_SENTINELS, "the", "cat", " "]), max_size=6))
def test_in_a_prompt_too_what_is_no_sentinel_of_the_vocabulary_is_text(any_vocabulary, parts):
    known = SENTINELS[: any_vocabulary.extra_ids]
    none = f"<extra_id_{any_vocabulary.extra_ids}>"
    parts = [none if part in SENTINELS and part not in known else part for part in parts]
    ids = any_vocabulary.encode(" ".join(parts), parse_sentinels=True).tolist()
    expected = [any_vocabulary.sentinel(known.index(part)) for part in parts if part in known]
    assert [token for token in ids if token in any_vocabulary.sentinel_ids] == expected
    text = " ".join(part for part in (*parts, none) if part not in known)
    np.testing.assert_array_equal(
        any_vocabulary.encode(text, parse_sentinels=True), any_vocabulary.encode(text)
    )


def test_neither_has_a_store(any_vocabulary, tmp_path):
    texts = [" ".join(NAMES), "the<extra_id_1>cat</s>", "".join(NAMES)]
    write_text_store(texts, any_vocabulary, tmp_path / "text")
    store = TokenStore.open(tmp_path / "text")
    assert special_ids(any_vocabulary).isdisjoint(store.tokens(0, store.num_tokens).tolist())
    write_pair_store(zip(texts, texts, strict=True), any_vocabulary, tmp_path / "pairs")
    pairs = PairStore.open(tmp_path / "pairs")
    for side in (pairs.inputs, pairs.targets):
        assert special_ids(any_vocabulary).isdisjoint(side.tokens(0, side.num_tokens).tolist())


@pytest.mark.parametrize(
    "special", [{"pad_token": "!"}, {"eos_token": "Ċ"}, {"bos_token": "!", "cls_token": "Ċ"}]
)
def test_a_character_that_someone_made_a_special_token_is_not_lost(special, tmp_path):
    write_bpe(tmp_path, TEXTS, size=400)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"} | special))
    vocabulary = open_vocabulary(tmp_path)
    for text in ("wow! <|endoftext|>\nHi!", "!!", "\n", "a\n"):
        ids = vocabulary.encode(text)
        assert vocabulary.encode("<|endoftext|>", parse_sentinels=True)[0] not in ids
        assert vocabulary.decode(ids) == text
        assert vocabulary.num_bytes(ids) == len(text)


def test_symbols_of_a_model_are_found_by_name_wherever_they_are(tmp_path):
    vocabulary = open_vocabulary(_sentencepiece(tmp_path, user_defined_symbols=["①", *SENTINELS]))
    assert isinstance(vocabulary, SentencePieceVocabulary)
    assert vocabulary.sentinel_ids.tolist() == [4, 5, 6]
    assert 3 in vocabulary.encode("the①cat")  # no special token: a token like others
    assert vocabulary.encode("a <extra_id_2>", parse_sentinels=True)[-1] == 6


def test_a_symbol_called_as_a_special_token_is_text_in_a_prompt_too(tmp_path):
    vocabulary = open_vocabulary(_sentencepiece(tmp_path, user_defined_symbols=["<mask>", *SENTINELS]))
    of_text = vocabulary.encode("the <mask> cat").tolist()
    assert 3 not in of_text
    assert vocabulary.encode("the <mask> cat", parse_sentinels=True).tolist() == of_text
    prompt = vocabulary.encode("<mask> a <extra_id_1> <mask>", parse_sentinels=True)
    assert 3 not in prompt
    assert vocabulary.sentinel(1) in prompt
