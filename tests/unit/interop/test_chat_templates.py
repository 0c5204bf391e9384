"""Chat templates go wherever their tokenizer goes: kept, exported, and along with a vocabulary."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from t5lite.data.vocabulary import open_vocabulary
from t5lite.interop.huggingface import export_folder, read_kept_files
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


def test_a_model_that_was_trained_with_the_vocabulary_keeps_the_template(folder, tmp_path):
    run = tmp_path / "run"
    open_vocabulary(folder).write(run)
    export_folder(
        make_params(CONFIGS["llama"]), CONFIGS["llama"], tmp_path / "out", vocabulary=open_vocabulary(run)
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.apply_chat_template(MESSAGES, tokenize=False) == "<a>"
