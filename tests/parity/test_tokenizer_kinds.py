"""AutoTokenizer on an exported folder equals the vocabulary, for bytes, WordPiece and byte-level BPE."""

import dataclasses
import json
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from t5lite.core.errors import DataError
from t5lite.data.vocabulary import ByteVocabulary, open_vocabulary
from t5lite.interop.huggingface import export_folder
from t5lite.interop.huggingface.tokenizer_files import read_vocabulary
from t5lite.models.config import Architecture
from t5lite.models.functional import build
from tests.exported_tokenizers import export_tokenizer
from tests.families import FAMILIES
from tests.small_tokenizers import write_bpe, write_qwen, write_unigram_with_sentinels, write_wordpiece

LINES = (Path(__file__).parent / "real_lines.txt").read_text(encoding="utf-8").splitlines()
UNUSUAL = [
    "",
    " ",
    "  lead   and trail  ",
    "tab\tnew\nline\r\nno-break\u00a0ideographic\u3000space",
    "日本語 text 🤖🤖 ok नमस्ते",
    "👨‍👩‍👧 family",
    "ﬁnancial Ⅷ ① ½ ₀¹ ＦＵＬＬ ﷺ",
    "e\u0301l nin\u0303o y \u00e9l ni\u00f1o ÀÉÎ",
    "zero\u200bwidth, soft\u00adhyphen, \ufeffmark, \x01\x02control",
    "“quoted” — dash… can't won't I'll 1,234.50",
]
TEXTS = LINES[:100] + UNUSUAL
MODEL_TYPES = {"bytes": "t5", "wordpiece": "bert", "bpe": "gpt2", "unigram": "t5"}
ARCHITECTURES: dict[str, Architecture] = {
    "bytes": "encoder_decoder",
    "wordpiece": "encoder_only",
    "bpe": "decoder_only",
    "unigram": "decoder_only",  # its file adds nothing, and so goes out as it is
}


@pytest.fixture(scope="module", params=list(MODEL_TYPES))
def exported(request, tmp_path_factory):
    """(vocabulary, folder it was exported to, as ``AutoTokenizer`` is pointed to)."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("folder")
    match request.param:
        case "bytes":
            vocabulary = open_vocabulary("bytes")
        case "wordpiece":
            vocabulary = open_vocabulary(write_wordpiece(source, LINES, size=500))
        case "bpe":
            vocabulary = open_vocabulary(write_bpe(source, LINES, size=500))
        case _:
            vocabulary = open_vocabulary(write_unigram_with_sentinels(source, sentinels=4))
    return vocabulary, export_tokenizer(
        vocabulary, folder, ARCHITECTURES[request.param], MODEL_TYPES[request.param]
    )


def test_the_ids_are_the_same(exported):
    vocabulary, folder = exported
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    expected = [ids.tolist() for ids in vocabulary.encode_batch(TEXTS)]
    assert tokenizer(TEXTS, add_special_tokens=False)["input_ids"] == expected
    assert len(tokenizer) == vocabulary.size


def test_special_tokens_and_sentinels_are_the_same(exported):
    vocabulary, folder = exported
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for name in ("pad", "eos", "unk", "bos", "cls", "sep", "mask"):
        if name != "unk" or vocabulary.unk_id is not None:
            assert getattr(tokenizer, f"{name}_token_id") == getattr(vocabulary, f"{name}_id"), name
    names = [f"<extra_id_{i}>" for i in range(vocabulary.extra_ids)]
    sentinels = [vocabulary.sentinel(i) for i in range(vocabulary.extra_ids)]
    assert tokenizer.convert_tokens_to_ids(names) == sentinels


def test_texts_that_come_back_come_back_the_same(exported):
    vocabulary, folder = exported
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for ids in vocabulary.encode_batch(TEXTS):
        assert tokenizer.decode(ids) == vocabulary.decode(ids)


def test_the_folder_gives_the_vocabulary_back(exported):
    vocabulary, folder = exported
    again = read_vocabulary(folder)
    assert again is not None
    assert type(again) is type(vocabulary)
    # A config that was written for a tokenizer.json without one names what was found.
    assert again.fingerprint == vocabulary.fingerprint


def test_saving_again_by_transformers_keeps_it(exported, tmp_path):
    vocabulary, folder = exported
    AutoTokenizer.from_pretrained(folder, local_files_only=True).save_pretrained(tmp_path)
    again = read_vocabulary(tmp_path)
    assert again is not None
    assert [ids.tolist() for ids in again.encode_batch(TEXTS)] == [
        ids.tolist() for ids in vocabulary.encode_batch(TEXTS)
    ]


def test_a_sentinel_in_a_prompt_of_bytes(exported):
    vocabulary, folder = exported
    if not isinstance(vocabulary, ByteVocabulary):
        assert vocabulary.kind == "tokenizer_json"
        return
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    prompt = "a <extra_id_0> b<extra_id_124>"
    expected = vocabulary.encode(prompt, parse_sentinels=True).tolist()
    assert tokenizer(prompt)["input_ids"] == [*expected, vocabulary.eos_id]


def test_byt5_of_transformers_counts_sentinels_the_other_way_unless_told():
    """Why the export writes their ids: by default ``<extra_id_0>`` is the lowest of them, not the highest."""
    tokenizer, vocabulary = ByT5Tokenizer(), ByteVocabulary()
    assert len(tokenizer) == vocabulary.size
    assert tokenizer(TEXTS, add_special_tokens=False)["input_ids"] == [
        ids.tolist() for ids in vocabulary.encode_batch(TEXTS)
    ]
    assert tokenizer.convert_tokens_to_ids("<extra_id_0>") == vocabulary.sentinel(124) == 259
    assert tokenizer.convert_tokens_to_ids("<extra_id_124>") == vocabulary.sentinel(0) == 383


def test_a_folder_that_byt5_wrote_is_bytes(tmp_path):
    ByT5Tokenizer().save_pretrained(tmp_path)
    vocabulary = read_vocabulary(tmp_path)
    assert isinstance(vocabulary, ByteVocabulary)
    # It lists its sentinels, which ascend.
    names = [f"<extra_id_{index}>" for index in range(125)]
    assert vocabulary.sentinel_ids.tolist() == ByT5Tokenizer().convert_tokens_to_ids(names)
    prompt = "a <extra_id_1> b"
    assert (
        vocabulary.encode(prompt, parse_sentinels=True).tolist() == ByT5Tokenizer()(prompt)["input_ids"][:-1]
    )
    assert vocabulary.decode(vocabulary.encode(prompt, parse_sentinels=True)) == prompt
    vocabulary.write(tmp_path / "stored")
    for again in (open_vocabulary(tmp_path / "stored"), pickle.loads(pickle.dumps(vocabulary))):
        assert again.fingerprint == vocabulary.fingerprint != ByteVocabulary().fingerprint
        assert again.sentinel(0) == 259
    export_tokenizer(vocabulary, tmp_path / "exported")
    assert AutoTokenizer.from_pretrained(tmp_path / "exported")(prompt) == ByT5Tokenizer()(prompt)


def test_tokens_added_to_byt5_are_refused_with_a_remedy_that_works(tmp_path):
    tokenizer = ByT5Tokenizer()
    tokenizer.add_tokens(["<city>"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"a vocabulary of bytes has none \(<city>\); give bytes as the"):
        read_vocabulary(tmp_path)
    assert open_vocabulary("bytes").size == 384


def test_what_transformers_saves_is_read_alike(tmp_path):
    """A tokenizer that transformers loaded and saved, with whatever it adds to the files."""
    for name, write in (("wordpiece", write_wordpiece), ("bpe", write_bpe)):
        source = write(tmp_path / name, LINES, size=400)
        (source / "config.json").write_text(json.dumps({"model_type": MODEL_TYPES[name]}))
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        tokenizer.save_pretrained(tmp_path / f"{name}-saved")
        vocabulary = open_vocabulary(tmp_path / f"{name}-saved")
        assert [ids.tolist() for ids in vocabulary.encode_batch(TEXTS)] == tokenizer(
            TEXTS, add_special_tokens=False
        )["input_ids"]
        assert (vocabulary.cls_id, vocabulary.eos_id) == (tokenizer.cls_token_id, tokenizer.eos_token_id)


@pytest.mark.parametrize(
    "listed",
    [
        {"additional_special_tokens": ["<tool>", "<nowhere>"]},
        {"extra_special_tokens": ["<tool>"]},
        {"extra_special_tokens": {"tool_token": "<tool>"}},
        {"additional_special_tokens": [{"content": "<tool>", "__type": "AddedToken"}]},
    ],
)
def test_special_tokens_that_only_the_config_lists_stay_special(listed, tmp_path):
    """Their names are ordinary text, which the exported files must say too."""
    source = write_bpe(tmp_path / "source", LINES, size=400)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.add_tokens(["<tool>", "<city>"])
    tokenizer.save(str(source / "tokenizer.json"))
    config = source / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | listed))
    vocabulary = open_vocabulary(source)
    again = open_vocabulary(export_tokenizer(vocabulary, tmp_path / "out", "decoder_only"))
    text = "a <tool> in <city>"
    assert again.encode(text).tolist() == vocabulary.encode(text).tolist()
    assert {400, 401}.intersection(again.encode(text).tolist()) == {401}
    assert again.fingerprint == vocabulary.fingerprint
    spelled = vocabulary.encode(text, parse_sentinels=True).tolist()
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    assert loaded(text)["input_ids"] == spelled
    assert 400 in spelled


@pytest.mark.parametrize(("write", "is_said"), [(write_bpe, True), (write_qwen, False)])
def test_a_class_that_is_taken_whatever_the_files_name_is_said(write, is_said, tmp_path, caplog):
    """transformers 5 builds a Qwen2Tokenizer for every Qwen 2; the remedy works."""
    vocabulary = open_vocabulary(write(tmp_path / "source", LINES, size=400))
    config = dataclasses.replace(FAMILIES["qwen2"], vocab_size=vocabulary.size)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), build(config).abstract_params)
    export_folder(params, config, tmp_path / "out", vocabulary=vocabulary)
    expected = [ids.tolist() for ids in vocabulary.encode_batch(TEXTS)]
    for loader in (AutoTokenizer, PreTrainedTokenizerFast):
        ids = loader.from_pretrained(tmp_path / "out")(TEXTS)["input_ids"]
        assert (ids == expected) == (loader is PreTrainedTokenizerFast or not is_said)
    assert ("takes a Qwen2Tokenizer for every qwen2" in caplog.text) == is_said
