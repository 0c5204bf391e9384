"""Import into a run directory and export out of it: tokenizer files, shards, directions that do not exist."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from t5lite.cli.export_command import num_bytes
from t5lite.core.errors import CheckpointError, ConfigError, UserError
from t5lite.data.vocabulary import open_vocabulary
from t5lite.interop import FORMATS, format_for
from t5lite.interop.huggingface import export_folder, import_folder
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, Execution
from t5lite.models.functional import build
from t5lite.runner.interchange import export, import_model
from t5lite.runner.run_directory import RunDirectory

pytestmark = pytest.mark.slow

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
    (tmp_path / "hf/chat_template.jinja").write_text("{{ messages }}")
    return tmp_path / "hf"


def test_tokenizer_files_go_out_as_they_came_in(folder, tmp_path):
    assert import_model(folder, tmp_path / "run") == build(CONFIG).num_params
    done = export(tmp_path / "run", tmp_path / "out", options={"max_shard_bytes": 800})
    assert (done.step, done.imported) == (0, True)
    assert "model.safetensors.index.json" in done.export.files
    kept = ("tokenizer.json", "tokenizer_config.json", "merges.txt", "vocab.json", "chat_template.jinja")
    for name in kept:
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    assert json.loads((tmp_path / "out/generation_config.json").read_text())["eos_token_id"] == 1
    config, params = import_folder(tmp_path / "out")
    assert config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, params, import_folder(folder)[1])


def test_a_folder_that_is_read_is_not_written_into(folder):
    before = sorted(folder.iterdir())
    with pytest.raises(UserError, match=r"lies in .*hf, which is read; write to a place apart from it"):
        import_model(folder, folder / "run")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("content", ["not JSON", '{"model": {"vocab": {"of": 0, "others": 1}}}'])
def test_a_tokenizer_that_lies_in_the_directory_of_a_training_is_not_its_own(content, folder, tmp_path):
    run = tmp_path / "run"
    import_model(folder, run)
    for metadata in (run / "checkpoints").glob("*/metadata/*"):
        metadata.write_text("{}")  # as a training's
    for name in ("tokenizer.json", "spiece.model"):
        (run / "tokenizer" / name).write_text(content)
    assert not export(run, tmp_path / "out").imported
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (run / "tokenizer.json").read_bytes()
    assert not {path.name for path in (tmp_path / "out").iterdir()} & {"merges.txt", "spiece.model"}


def test_a_vocabulary_may_be_given_where_the_folder_has_none(folder, tmp_path):
    (folder / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="or give one by --vocabulary"):
        import_model(folder, tmp_path / "run")
    import_model(folder, tmp_path / "run", vocabulary=tmp_path / "tokenizer.json")
    assert (tmp_path / "run/tokenizer.json").is_file()


def test_a_given_vocabulary_replaces_the_folders_files(folder, tmp_path):
    words = {word: i for i, word in enumerate(["<unk>", "</s>", "other"])}
    Tokenizer(models.WordLevel(words, unk_token="<unk>")).save(str(tmp_path / "other.json"))
    import_model(folder, tmp_path / "run", vocabulary=tmp_path / "other.json")
    export(tmp_path / "run", tmp_path / "out")
    written = json.loads((tmp_path / "out/tokenizer.json").read_text())
    assert written["model"]["vocab"] == words
    assert not (tmp_path / "out/merges.txt").exists()


def write_t5(folder: Path, *, vocab_size: int) -> None:
    config = EncoderDecoderConfig(
        vocab_size=vocab_size, embed_dim=8, mlp_dim=10, head_dim=4, num_heads=2, num_encoder_layers=1,
        num_decoder_layers=1,
    )  # fmt: skip
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), build(config).abstract_params)
    export_folder(params, config, folder)


def write_words(folder: Path, words: list[str]) -> None:
    """A tokenizer whose ids are the words' positions."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.add_special_tokens([word for word in words if word.startswith("<")])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    taken = {"tokenizer_class": "PreTrainedTokenizerFast"}  # as it is: T5's own class has no word-level model
    (folder / "tokenizer_config.json").write_text(json.dumps(names | taken))


def test_a_t5_may_end_its_texts_in_several_ways_if_its_vocabularys_is_one(tmp_path):
    folder = tmp_path / "hf"
    write_t5(folder, vocab_size=8)
    write_words(folder, ["<pad>", "</s>", "<unk>", "a"])
    for name in ("config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(values | {"eos_token_id": [5, 1]}))
    import_model(folder, tmp_path / "run")
    assert RunDirectory.at(tmp_path / "run").read_model_file().eos_ids == (5,)
    write_words(folder, ["<pad>", "<unk>", "</s>", "a"])
    with pytest.raises(CheckpointError, match=r"eos_token_id=5 or 1, but .*tokenizer\.json has EOS 2"):
        import_model(folder, tmp_path / "other")


def test_a_t5_ends_its_texts_as_its_vocabulary_does(tmp_path):
    folder = tmp_path / "hf"
    write_t5(folder, vocab_size=8)
    write_words(folder, ["<pad>", "<unk>", "</s>", "a"])
    with pytest.raises(CheckpointError, match=r"eos_token_id=1, but .*tokenizer\.json has EOS 2"):
        import_model(folder, tmp_path / "run")
    for name in ("config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(values | {"eos_token_id": 2}))
    import_model(folder, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "out")
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "out" / name).read_text())["eos_token_id"] == 2


def test_sentinels_of_the_folders_vocabulary(tmp_path):
    folder = tmp_path / "hf"
    write_t5(folder, vocab_size=400)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    import_model(folder, tmp_path / "run", extra_ids=77)
    assert RunDirectory.at(tmp_path / "run").read_model()[1].extra_ids == 77
    export(tmp_path / "run", tmp_path / "out")
    assert json.loads((tmp_path / "out/tokenizer_config.json").read_text())["extra_ids"] == 77
    write_words(folder, ["<pad>", "</s>", "<unk>", "<extra_id_0>"])
    with pytest.raises(ConfigError, match="77"):
        import_model(folder, tmp_path / "other", extra_ids=77)


def test_more_sentinels_than_rows_are_refused_with_a_remedy_that_works(tmp_path):
    folder = tmp_path / "hf"
    write_t5(folder, vocab_size=300)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    with pytest.raises(
        ConfigError, match=r"vocab_size=300 has no row .*; the weights .*--extra-ids 41"
    ) as refusal:
        import_model(folder, tmp_path / "run")
    assert "model.vocab_size" not in str(refusal.value)
    import_model(folder, tmp_path / "run", extra_ids=41)
    assert RunDirectory.at(tmp_path / "run").read_model()[1].size == 300


def test_tokens_beyond_the_table_are_refused_with_remedies_that_work(folder, tmp_path):
    write_words(folder, ["<unk>", "</s>", "<pad>", *"abcdefghi"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(tmp_path / "before")
    tokenizer.add_tokens(["<city>"])
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    with pytest.raises(
        ConfigError, match=r"vocab_size=12 .*14 ids.*for '<city>', '\[PAD\]' by model\.resize"
    ):
        import_model(folder, tmp_path / "run")
    import_model(folder, tmp_path / "without", vocabulary=tmp_path / "before")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    import_model(folder, tmp_path / "run")
    vocabulary = RunDirectory.at(tmp_path / "run").read_model()[1]
    assert vocabulary.encode("a <city>").tolist() == tokenizer("a <city>")["input_ids"]


def test_directions_that_a_format_does_not_have():
    assert format_for("import", "t5x").export_folder is None
    with pytest.raises(ConfigError, match="format 't5x' has no export; allowed: huggingface"):
        format_for("export", "t5x")
    with pytest.raises(ConfigError, match=r"unknown format 'hf'; allowed: huggingface, peft, t5x$"):
        format_for("import", "hf")
    with pytest.raises(ConfigError, match=r"unknown format 'hf'; allowed: huggingface, peft, stablehlo$"):
        format_for("export", "hf")
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


def test_a_vocabulary_that_cannot_be_exported_is_refused_before_weights_are_read(tmp_path):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["some words to learn pieces from"]), model_prefix=str(tmp_path / "spiece"),
        vocab_size=9, model_type="word", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    vocabulary = open_vocabulary(tmp_path / "spiece.model", 4)
    config = EncoderDecoderConfig(
        vocab_size=vocabulary.size, embed_dim=8, mlp_dim=10, head_dim=4, num_heads=2, num_encoder_layers=1,
        num_decoder_layers=1,
    )  # fmt: skip
    RunDirectory.at(tmp_path / "run").write_model(
        config, vocabulary, execution=Execution()
    )  # and no checkpoint
    with pytest.raises(UserError, match="model_type=word, and no tokenizer"):
        export(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()
