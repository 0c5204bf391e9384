"""Chat templates go wherever their tokenizer goes: kept, exported, and along with a vocabulary."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from t5lite.data.vocabulary import Vocabulary, open_vocabulary
from t5lite.interop.huggingface import export_folder, read_kept_files
from tests.exported_tokenizers import train_sentencepiece
from tests.small_folders import CONFIGS, make_params

TEMPLATE = "{% for message in messages %}<{{ message.content }}>{% endfor %}"
MESSAGES = [{"role": "user", "content": "a"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "hf"
    (folder / "additional_chat_templates").mkdir(parents=True)
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "a": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}'
    )
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "additional_chat_templates/tool_use.jinja").write_text(f"tool {TEMPLATE}")
    (folder / "additional_chat_templates/notes.txt").write_text("no template")
    return folder


def test_templates_beside_an_imported_model_go_out_as_they_came_in(folder, tmp_path):
    kept = read_kept_files(folder)
    export_folder(make_params(CONFIGS["llama"]), CONFIGS["llama"], tmp_path / "out", kept_files=kept)
    assert read_kept_files(tmp_path / "out") == kept
    assert not (tmp_path / "out/additional_chat_templates/notes.txt").exists()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False) == "<a>"
    assert tokenizer.apply_chat_template(MESSAGES, chat_template="tool_use", tokenize=False) == "tool <a>"


def exported_again(vocabulary: Vocabulary, tmp_path: Path) -> Any:
    """Return the tokenizer of a run that was trained with a vocabulary."""
    vocabulary.write(tmp_path / "run")
    again = open_vocabulary(tmp_path / "run", vocabulary.extra_ids, kind=vocabulary.kind)
    assert again.files == vocabulary.files
    config = CONFIGS["t5"]
    export_folder(make_params(config), config, tmp_path / "out", vocabulary=again)
    return AutoTokenizer.from_pretrained(tmp_path / "out")


def test_a_model_that_was_trained_with_the_vocabulary_keeps_the_templates(folder, tmp_path):
    tokenizer = exported_again(open_vocabulary(folder), tmp_path)
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False) == "<a>"
    assert tokenizer.apply_chat_template(MESSAGES, chat_template="tool_use", tokenize=False) == "tool <a>"


@pytest.mark.parametrize("several", [False, True])
def test_those_beside_a_sentencepiece_model_are_kept_too(folder, several, tmp_path):
    if not several:
        (folder / "additional_chat_templates/tool_use.jinja").unlink()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    train_sentencepiece(folder, ["a b c", "ab abc"], vocab_size=20)
    vocabulary = open_vocabulary(folder, 2)
    assert vocabulary.kind == "sentencepiece"
    tokenizer = exported_again(vocabulary, tmp_path)
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False) == "<a>"
    if several:
        told = tokenizer.apply_chat_template(MESSAGES, chat_template="tool_use", tokenize=False)
        assert told == "tool <a>"


def test_a_template_in_tokenizer_config_is_kept_beside_a_sentencepiece_model(folder, tmp_path):
    (folder / "chat_template.jinja").unlink()
    (folder / "additional_chat_templates/tool_use.jinja").unlink()
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE, "extra_ids": 2}))
    train_sentencepiece(folder, ["a b c", "ab abc"], vocab_size=20)
    tokenizer = exported_again(open_vocabulary(folder), tmp_path)
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False) == "<a>"
