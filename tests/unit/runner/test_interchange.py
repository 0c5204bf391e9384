"""Import into a run directory and export out of it: tokenizer files, shards, directions that do not exist."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from t5lite.cli.export_command import num_bytes
from t5lite.core.errors import ConfigError, UserError
from t5lite.interop import FORMATS, format_for
from t5lite.interop.huggingface import export_folder, import_folder
from t5lite.models.config import DecoderOnlyConfig
from t5lite.models.functional import build
from t5lite.runner.interchange import export, import_model

CONFIG = DecoderOnlyConfig(
    vocab_size=12, embed_dim=8, mlp_dim=10, head_dim=4, num_heads=2, num_layers=2, tie_embeddings=True
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Llama with a tokenizer, among whose files are two that t5lite does not read."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), build(CONFIG).abstract_params
    )
    export_folder(params, CONFIG, tmp_path / "hf")
    words = {word: i for i, word in enumerate(["<unk>", "</s>", "a", "b"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "hf/tokenizer.json"))
    (tmp_path / "hf/tokenizer_config.json").write_text(
        json.dumps({"eos_token": "</s>", "model_max_length": 7})
    )
    (tmp_path / "hf/merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "hf/vocab.json").write_text("{}")
    return tmp_path / "hf"


def test_tokenizer_files_go_out_as_they_came_in(folder, tmp_path):
    assert import_model(folder, tmp_path / "run") == build(CONFIG).num_params
    done = export(tmp_path / "run", tmp_path / "out", options={"max_shard_bytes": 800})
    assert done.step == 0
    assert "model.safetensors.index.json" in done.export.files
    for name in ("tokenizer.json", "tokenizer_config.json", "merges.txt", "vocab.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    assert json.loads((tmp_path / "out/generation_config.json").read_text())["eos_token_id"] == 1
    config, params = import_folder(tmp_path / "out")
    assert config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, params, import_folder(folder)[1])


def test_a_vocabulary_may_be_given_where_the_folder_has_none(folder, tmp_path):
    (folder / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="or give one by --vocabulary"):
        import_model(folder, tmp_path / "run")
    import_model(folder, tmp_path / "run", vocabulary=tmp_path / "tokenizer.json")
    assert (tmp_path / "run/tokenizer.json").is_file()


def test_directions_that_a_format_does_not_have():
    assert format_for("import", "t5x").export_folder is None
    with pytest.raises(ConfigError, match="format 't5x' has no export; allowed: huggingface"):
        format_for("export", "t5x")
    for name, each in FORMATS.items():
        assert each.export_folder or each.import_folder, name


@pytest.mark.parametrize(
    ("size", "count"), [("5GB", 5 * 10**9), ("500 MB", 5 * 10**8), ("1.5kb", 1500), ("7B", 7)]
)
def test_sizes(size, count):
    assert num_bytes(size) == count


@pytest.mark.parametrize("size", ["5", "GB", "-1GB", "0MB", "5GiB", ""])
def test_what_is_no_size(size):
    with pytest.raises(ConfigError, match="is not a size; give a number and B, KB, MB, GB"):
        num_bytes(size)
