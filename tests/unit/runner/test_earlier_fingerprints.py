"""Stores and runs of before the classes of tokenizers named special tokens are of the same vocabulary."""

import json
from pathlib import Path

import pytest

from t5lite.core.errors import CheckpointError, ConfigError, DataError
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.pipeline import MixtureDataConfig, MixtureSource, open_pipeline
from t5lite.data.prepare import write_pair_store
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.vocabulary import Vocabulary, open_vocabulary
from t5lite.models.config import EncoderDecoderConfig, Execution
from t5lite.runner.earlier_run import EarlierModel, EarlierRun
from t5lite.runner.initialization import Source, check_source
from t5lite.runner.run_directory import RunDirectory
from tests.small_tokenizers import write_bpe, write_gemma, write_qwen, write_roberta

MODEL = EncoderDecoderConfig(
    vocab_size=512,
    embed_dim=8,
    mlp_dim=16,
    head_dim=4,
    num_heads=2,
    num_encoder_layers=1,
    num_decoder_layers=1,
)
TEXTS = ["la luz de la hélice", "<bos> 10 <mask>"]
CASES = [
    # What an older version took the class for: it built a RoBERTa as a GPT-2, the others as they are.
    (write_roberta, "RobertaTokenizer", "GPT2Tokenizer"),
    (write_gemma, "GemmaTokenizer", "PreTrainedTokenizerFast"),
    (write_qwen, "Qwen2Tokenizer", "PreTrainedTokenizerFast"),
]


def named(folder: Path, tokenizer_class: str) -> Vocabulary:
    """The vocabulary of a folder that says its class and names no special token."""
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class}))
    return open_vocabulary(folder)


@pytest.mark.parametrize(("write", "name", "earlier_name"), CASES)
def test_what_an_older_version_wrote_is_of_the_same_vocabulary(write, name, earlier_name, tmp_path):
    write(tmp_path / "tokenizer", TEXTS)
    earlier = named(tmp_path / "tokenizer", earlier_name)
    vocabulary = named(tmp_path / "tokenizer", name)
    assert vocabulary.fingerprint != earlier.fingerprint == vocabulary.earlier_fingerprint
    for text in TEXTS:
        assert vocabulary.encode(text).tolist() == earlier.encode(text).tolist()
    new, old = str(tmp_path / "new"), str(tmp_path / "old")
    write_pair_store([(TEXTS[0], "la"), (TEXTS[1], "luz")], vocabulary, Path(new))
    before = named(tmp_path / "tokenizer", name)
    before.fingerprint = earlier.fingerprint
    write_pair_store([(TEXTS[0], "la"), (TEXTS[1], "luz")], before, Path(old))
    other = open_vocabulary(write_bpe(tmp_path / "other", TEXTS))

    # Its stores, alone and beside others.
    opened = PairStore.open(old, vocabulary.fingerprint).vocabulary()
    assert opened.fingerprint == vocabulary.fingerprint
    with pytest.raises(DataError, match="another vocabulary"):
        PairStore.open(old, other.fingerprint)
    sources = [
        MixtureSource(name=Path(store).name, data=PairsDataConfig(store=store)) for store in (old, new)
    ]
    for order in (sources, sources[::-1]):
        open_pipeline(MixtureDataConfig(sources=tuple(order)), vocabulary_fingerprint=vocabulary.fingerprint)

    # Its runs, to ask, to go on with and to start from.
    directory = RunDirectory.at(tmp_path / "run")
    directory.write_model(MODEL, before, execution=Execution())
    assert directory.read_model()[1].fingerprint == vocabulary.fingerprint
    saved = directory.read_model_file()
    run = EarlierRun(model=EarlierModel(config=MODEL, vocabulary=saved.vocabulary), has_checkpoints=True)
    run.check(directory, MODEL, vocabulary)
    with pytest.raises(CheckpointError, match="holds a run of another model"):
        run.check(directory, MODEL, other)
    source = Source(
        run=str(directory.path), asked="newest", model=saved, vocabulary_path="x", step=1, classes=None
    )
    check_source(source, MODEL, vocabulary)
    with pytest.raises(ConfigError, match="another vocabulary"):
        check_source(source, MODEL, other)


def test_what_would_be_read_otherwise_is_not(tmp_path):
    """A text that spells a token that is special only by its class's word was cut into it."""
    folder = write_gemma(tmp_path, TEXTS)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    for token in content["added_tokens"]:
        token["special"] = token["special"] and token["content"] != "<bos>"
    file.write_text(json.dumps(content))
    earlier, vocabulary = (named(folder, name) for name in ("PreTrainedTokenizerFast", "GemmaTokenizer"))
    assert earlier.encode("<bos>").tolist() != vocabulary.encode("<bos>").tolist()
    assert not vocabulary.has_fingerprint(earlier.fingerprint)
