"""Tokenizers whose files say what few others do."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from t5lite.data.stores.store_sinks import TextSink
from t5lite.data.stores.token_store import TokenStore, TokenStoreWriter
from t5lite.data.stores.unknown_tokens import UnknownTokens, lost_characters, unknown_line, unknown_warning
from t5lite.data.vocabulary import Frame, TokenizerJsonVocabulary, open_vocabulary
from t5lite.interop.huggingface.tokenizer_files.framing import framing
from t5lite.interop.huggingface.tokenizer_files.tokenizer_json_files import tokenizer_json_files
from tests.small_tokenizers import write_bpe


def _special(index: int, name: str, **more: Any) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": name, **flags, "special": True, **more}


def _part(kind: str, name: str) -> dict[str, Any]:
    return {kind: {"id": name, "type_id": 0}}


def _tokenizer(folder: Path, config: dict[str, Any], **model: Any) -> Path:
    """Write a vocabulary of DNA, and of a city, in bytes that no release of a library changes."""
    names = ["<s>", "</s>", "A", "C", "G", "T", "AC", "!"]
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(0, "<s>"), _special(1, "</s>"), _special(8, "<city>", special=False)],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
            ],
            "special_tokens": {
                name: {"id": name, "ids": [index], "tokens": [name]} for index, name in enumerate(names[:2])
            },
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {name: index for index, name in enumerate(names)},
            "merges": ["A C"],
        }
        | model,
    }
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(description))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


CITY = _special(8, "<city>")
AS_IT_IS = "2dc33ff54927a5999df6d0f4bb038493163cb936d6b42d39d4f548245cf23447"
OF_GPT2 = "83c3d51e182ae02fe46cbed3582c31ee4bd6bfd52c9261208c7cec6a194a0a5f"
PLAIN = {"tokenizer_class": "PreTrainedTokenizerFast"}


@pytest.mark.parametrize(
    ("config", "fingerprint"),
    [
        (PLAIN, AS_IT_IS),
        (
            PLAIN | {"additional_special_tokens": ["<s>", "</s>"]},
            AS_IT_IS,
        ),
        (
            {"tokenizer_class": "GPT2Tokenizer", "eos_token": "</s>"},
            OF_GPT2,
        ),
    ],
)
def test_fingerprints_of_what_stores_were_made_with_stay(config, fingerprint, tmp_path):
    assert open_vocabulary(_tokenizer(tmp_path, config)).fingerprint == fingerprint


@pytest.mark.parametrize(
    "config",
    [
        {"additional_special_tokens": ["<city>"]},
        {"extra_special_tokens": {"city_token": "<city>"}},
        {"added_tokens_decoder": {"8": CITY}},
        {"additional_special_tokens": ["AC"]},
    ],
)
def test_equal_fingerprints_mean_equal_ids(config, tmp_path):
    usual = open_vocabulary(_tokenizer(tmp_path / "usual", PLAIN))
    other = open_vocabulary(_tokenizer(tmp_path / "other", PLAIN | config))
    assert usual.encode("G<city>AC").tolist() == [4, 8, 6] != other.encode("G<city>AC").tolist()
    assert not other.has_fingerprint(usual.fingerprint)
    assert not usual.has_fingerprint(other.fingerprint)


def test_special_tokens_that_only_the_older_file_lists_are_special(tmp_path):
    """As ``save_pretrained`` of transformers before 4.34 wrote them; a text that spells one is text."""
    folder = _tokenizer(tmp_path / "older", PLAIN)
    (folder / "special_tokens_map.json").write_text('{"additional_special_tokens": [{"content": "<city>"}]}')
    older = open_vocabulary(folder)
    assert isinstance(older, TokenizerJsonVocabulary)
    assert older.additional_special_tokens == ("<city>",)
    listed = PLAIN | {"additional_special_tokens": ["<city>"]}
    newer = open_vocabulary(_tokenizer(tmp_path / "newer", listed))
    assert older.encode("G<city>AC").tolist() == newer.encode("G<city>AC").tolist()


def test_dropout_is_left_out_and_said(tmp_path, caplog):
    vocabulary = open_vocabulary(_tokenizer(tmp_path, PLAIN, dropout=0.5))
    assert "dropout of 0.5, by which merges are left out at random; it is taken as 0" in caplog.text
    text = "ACGT" * 50
    assert vocabulary.encode(text).tolist() == vocabulary.encode(text, parse_sentinels=True).tolist()
    assert vocabulary.encode(text).tolist() == [6, 4, 5] * 50
    assert isinstance(vocabulary, TokenizerJsonVocabulary)
    assert json.loads(vocabulary.rules)["model"]["dropout"] is None


def test_a_vocabulary_that_cannot_say_a_has_its_frame(tmp_path):
    vocabulary = open_vocabulary(_tokenizer(tmp_path, PLAIN))
    assert vocabulary.own_frame == Frame(before=(0,))
    assert vocabulary.prompt_prefix == (0,)
    assert vocabulary.own_separators == (1,)
    assert isinstance(vocabulary, TokenizerJsonVocabulary)
    framed = framing(vocabulary, "decoder_only", token_types=False, frame=None)
    exported = tokenizer_json_files(vocabulary, framed)["tokenizer.json"].decode()
    assert Tokenizer.from_str(exported).encode("GT").ids == [0, 4, 5]


def test_what_a_vocabulary_without_unk_loses_is_counted(tmp_path):
    vocabulary = open_vocabulary(_tokenizer(tmp_path / "dna", PLAIN))
    assert vocabulary.encode("ANxC").tolist() == [6]  # what is between them is lost
    assert vocabulary.num_lost("AN xC\n") == 2
    lost = lost_characters(["ANxC", "AC", "G T"], vocabulary)
    assert (lost.characters, lost.lost, lost.with_lost) == (8, 2, 1)
    writer = TokenStoreWriter(tmp_path / "store", vocabulary=vocabulary)
    with writer:
        sink = TextSink(writer, vocabulary, 1)
        sink.add(["ANxC", "AC", "G T", "NNN"])  # the last has no tokens, and is left out
    unknown = TokenStore.open(tmp_path / "store").unknown
    assert unknown is not None
    assert (unknown.lost, unknown.share_lost, unknown.share_with_lost) == (2, 0.25, 1 / 3)
    stores = {"train": {"unknown": {"documents": asdict(unknown)}}}
    said = unknown_line(stores, "documents", {})
    assert (
        said
        == "lost characters: 25.00% (2 of 8, in 33.3% of the documents); the vocabulary has no UNK for them"
    )
    assert "cannot spell this text" in (unknown_warning(stores, vocabulary="dna") or "")


def test_a_vocabulary_that_loses_nothing_counts_nothing(tmp_path):
    named = open_vocabulary(_tokenizer(tmp_path / "named", PLAIN | {"unk_token": "!"}, unk_token="!"))
    write_bpe(tmp_path / "bytes", ["ab"])
    (tmp_path / "bytes" / "tokenizer_config.json").write_text(json.dumps(PLAIN))
    spelled = open_vocabulary(tmp_path / "bytes")
    assert spelled.unk_id is None
    for vocabulary in (named, spelled, open_vocabulary("bytes")):
        assert lost_characters(["ANxC \N{CUNEIFORM SIGN A}"], vocabulary) == UnknownTokens()


def test_an_unk_that_the_model_does_not_use_does_not_hide_what_is_lost(tmp_path):
    """tokenizer_config.json names one, and the BPE of tokenizer.json drops what it cannot spell."""
    vocabulary = open_vocabulary(_tokenizer(tmp_path, PLAIN | {"unk_token": "!"}))
    assert vocabulary.unk_id is not None
    assert vocabulary.num_lost("ANxC") == 2
