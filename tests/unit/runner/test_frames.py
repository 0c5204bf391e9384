"""What surrounds a text is one thing: in training, for generate and evaluate, in an exported tokenizer."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from tokenizers import Tokenizer

from t5lite import run_config
from t5lite.core.errors import ConfigError
from t5lite.data.examples.pair_examples import PairsDataConfig, frames_differ
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.objectives import Ul2
from t5lite.data.pipeline import open_pipeline
from t5lite.data.position import DataPosition
from t5lite.data.prepare import write_pair_store
from t5lite.data.vocabulary import ByteVocabulary, Frame, open_vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.evaluation.text_generation import Output
from t5lite.interop.huggingface.tokenizer_files import tokenizer_files
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, Execution
from t5lite.models.functional import build
from t5lite.optim import AdamWConfig, Constant
from t5lite.run_config import EvaluationConfig, RunConfig
from t5lite.runner import generation, interchange, task_scoring
from t5lite.runner.config_changes import check_changes, check_names, config_changes
from t5lite.runner.resumption import Resumption
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.task_scoring import TaskScorer
from t5lite.runner.text_frames import text_frame
from t5lite.training.config import TrainingConfig
from tests.small_tokenizers import write_bpe_with_bos, write_wordpiece

SIZES: dict[str, Any] = {"vocab_size": 300, "embed_dim": 8, "mlp_dim": 16, "head_dim": 4, "num_heads": 2}
MODEL = EncoderDecoderConfig(**SIZES, num_encoder_layers=1, num_decoder_layers=1)
TEXT = "la luz"
MIXTURE = Path(__file__).parents[2] / "e2e" / "tiny_mixture_recipe.py"


def run_of(data, run_dir="run", model=MODEL) -> RunConfig:
    heldout = EvaluationConfig(store=data.store, task="translation", max_examples=1)
    return RunConfig(
        run_dir=str(run_dir),
        model=model,
        data=data,
        optimizer=AdamWConfig(),
        schedule=Constant(),
        training=TrainingConfig(total_steps=1, batch_size=1),
        evaluations={"heldout": heldout} if data.answer_length else {},
    )


def of_version_6(config: RunConfig) -> dict[str, Any]:
    """What was written before there were frames."""

    def without_frame(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without_frame(each) for name, each in value.items() if name != "frame"}
        return [without_frame(each) for each in value] if isinstance(value, list) else value

    return {**without_frame(run_config.to_json(config)), "version": 6}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run directory, whose generation and evaluation give what they ask the model."""
    directory = RunDirectory.at(tmp_path / "run")
    vocabulary = open_vocabulary(write_bpe_with_bos(tmp_path / "vocabulary", [TEXT]))
    write_pair_store([(TEXT, "la")], vocabulary, tmp_path / "pairs")
    directory.write_model(MODEL, vocabulary, execution=Execution())
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), build(MODEL).abstract_params)
    trained = SimpleNamespace(model=None, params=params, vocabulary=vocabulary, step=0, origin="")
    for module in (generation, interchange):
        monkeypatch.setattr(module, "load_trained", lambda *_, **__: trained)
    monkeypatch.setattr(generation, "generate_outputs", lambda *arguments, **_: iter(arguments[3]))
    return directory


def asked(run: RunDirectory, tmp_path: Path) -> list[list[int]]:
    """What generate gives the model, and the exported tokenizer."""
    (row,) = generation.start_generation(run.path, [TEXT]).outputs
    interchange.export(run.path, tmp_path / "exported")
    tokenizer = Tokenizer.from_file(str(tmp_path / "exported" / "tokenizer.json"))
    return [row.ids.tolist(), tokenizer.encode(TEXT).ids]


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (None, False),
        (PairsDataConfig(store="STORE"), False),
        (PairsDataConfig(store="STORE", frame="eos"), True),
        ("older", True),
        (PretrainingDataConfig(store="STORE"), True),
        (PretrainingDataConfig(store="STORE", objective=Ul2()), True),
    ],
)
def test_a_text_is_asked_in_the_frame_that_it_was_trained_in(data, ends, run, tmp_path, monkeypatch):
    """An import's is the vocabulary's own; EOS ends running text, and it ended pairs before version 7."""
    vocabulary = run.read_model()[1]
    ids = vocabulary.encode(TEXT).tolist()
    framed = [*ids, vocabulary.eos_id] if ends else [vocabulary.bos_id, *ids]
    if data == "older":
        older = run_of(PairsDataConfig(store=str(tmp_path / "pairs")), run.path)
        run.config_file.write_text(json.dumps(of_version_6(older)))
    elif data is not None:
        run.write_config(run_of(dataclasses.replace(data, store=str(tmp_path / "pairs")), run.path))
    assert asked(run, tmp_path) == [framed, framed]
    if data is None or run.read_config().data.is_text:
        return
    config = run.read_config()
    batch = open_pipeline(config.data, shuffle=False).batch(0, batch_size=1)
    assert batch["encoder_input_tokens"][0][: len(framed)].tolist() == framed
    given = []

    def generate(_, inputs):
        given.extend(inputs)
        return iter([Output("la", input_cut=False)])

    monkeypatch.setattr(task_scoring, "TextGenerator", lambda *_, **__: generate)
    TaskScorer(None, vocabulary, config, "heldout")(None)
    (prompt,) = given
    assert prompt.frame == (None if ends else vocabulary.own_frame)


def test_what_stands_for_cls_is_known_to_encoders_that_were_trained_here():
    """An imported T5EncoderModel reads what its tokenizer makes: EOS behind a text, and nothing before."""
    vocabulary, encoder = ByteVocabulary(), EncoderOnlyConfig(**SIZES, num_layers=1)
    _, cls, sep = special_tokens(vocabulary)
    assert text_frame(encoder, vocabulary, is_imported=False) == Frame((cls,), (sep,))
    frame = text_frame(encoder, vocabulary, is_imported=True)
    assert frame == Frame(after=(vocabulary.eos_id,))
    files = tokenizer_files(vocabulary, "encoder_only", frame=frame)
    written = Tokenizer.from_str(files["tokenizer.json"].decode()).encode(TEXT).ids
    assert written == [*vocabulary.encode(TEXT).tolist(), vocabulary.eos_id]


def resumed(config: RunConfig) -> Resumption:
    return Resumption(step=20, position=DataPosition(160), saved_config=of_version_6(config))


@pytest.mark.parametrize("name", ["data", "data.sources.pairs.data"])
def test_a_run_of_before_there_were_frames_goes_on_as_it_was_or_says_so(name, tmp_path):
    mixture = run_config.load(MIXTURE)
    config = mixture if "sources" in name else run_of(PairsDataConfig(store="s"))
    stores = dict.fromkeys(map(".".join, config.stores), "")
    (change,) = config_changes(resumed(config), config, stores)
    assert str(change) == f"{name}.frame: 'eos' → 'own'"
    with pytest.raises(ConfigError, match=f"another experiment.*change back.*--allow-change {name}.frame$"):
        check_changes([change], allowed=(), step=20, run="run")
    check_names([change.field])
    (change,) = config_changes(resumed(config), config, stores, frames_differ=False)
    check_changes([change], allowed=(), step=20, run="run")
    back = resumed(config).config
    assert back is not None
    assert config_changes(resumed(config), back, stores) == []


def test_a_frame_is_of_an_encoder_decoder_whose_vocabulary_has_one(tmp_path):
    begins = open_vocabulary(write_bpe_with_bos(tmp_path / "bpe", [TEXT]))
    without_eos = open_vocabulary(write_wordpiece(tmp_path / "wordpiece", [TEXT]))
    assert frames_differ("encoder_decoder", begins)
    assert frames_differ("encoder_decoder", without_eos)
    assert not frames_differ("encoder_decoder", ByteVocabulary())
    for architecture in ("decoder_only", "encoder_only"):
        assert not frames_differ(architecture, begins)
    config = run_of(PairsDataConfig(store="s"), model=DecoderOnlyConfig(**SIZES, num_layers=1))
    assert resumed(config).config == config
