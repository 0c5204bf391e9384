"""Prompts begin as the texts that the model was trained on."""

import dataclasses
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.objectives.causal_lm import CausalLM
from t5lite.data.objectives.prefix_lm import PrefixLM
from t5lite.data.objectives.span_corruption import SpanCorruption
from t5lite.data.objectives.ul2 import Ul2, mode_ids
from t5lite.data.vocabulary import open_vocabulary
from t5lite.data.vocabulary.byte_vocabulary import ByteVocabulary
from t5lite.decoding import TrainedOn, decoding_mode
from t5lite.models.config import DecoderOnlyConfig, Execution
from t5lite.optim import AdamWConfig, Constant
from t5lite.run_config import InitializeFrom, RunConfig
from t5lite.runner import generation
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.config import TrainingConfig
from tests.small_tokenizers import write_bpe_with_bos

MODEL = DecoderOnlyConfig(vocab_size=300, embed_dim=8, mlp_dim=16, head_dim=4, num_heads=2, num_layers=1)
TEXT = "la luz"
EARLIER = InitializeFrom(run="earlier")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run directory whose generation returns the prompts instead."""
    directory = RunDirectory.at(tmp_path / "run")
    directory.write_model(
        MODEL, open_vocabulary(write_bpe_with_bos(tmp_path / "vocabulary", [TEXT])), execution=Execution()
    )
    trained = SimpleNamespace(model=None, params=None, vocabulary=None, step=0)
    monkeypatch.setattr(generation, "load_trained", lambda *_, **__: trained)
    monkeypatch.setattr(generation, "generate_outputs", lambda *arguments, **_: iter(arguments[3]))
    return directory


def prompt(run) -> list[int]:
    (row,) = generation.start_generation(run.path, [TEXT]).outputs
    return row.ids.tolist()


def test_an_imported_model_is_given_the_text_for_its_tokenizer_to_begin(run):
    _, vocabulary = run.read_model()
    assert prompt(run) == [vocabulary.bos_id, *vocabulary.encode(TEXT)]


@pytest.mark.parametrize(
    ("data", "source", "is_imported", "expected"),
    [
        (PretrainingDataConfig(store="store", objective=CausalLM()), None, False, "ids"),
        (PretrainingDataConfig(store="store", objective=PrefixLM()), None, False, "ids"),
        (PretrainingDataConfig(store="store", objective=CausalLM()), EARLIER, True, "text"),
        (PretrainingDataConfig(store="store", objective=CausalLM()), EARLIER, False, "ids"),
        (PretrainingDataConfig(store="store", objective=CausalLM()), None, None, "ids"),
        (PretrainingDataConfig(store="store", objective=CausalLM()), EARLIER, None, "text"),
        (PretrainingDataConfig(store="store", objective=SpanCorruption()), None, False, "ids and EOS"),
        (PretrainingDataConfig(store="store", objective=Ul2()), None, False, "ids"),
        (PairsDataConfig(store="store"), EARLIER, True, "ids and EOS"),
    ],
)
def test_a_trained_model_is_prompted_as_it_was_trained(run, data, source, is_imported, expected):
    """No stage of a model that was pretrained here has seen what its tokenizer begins a text with."""
    config = RunConfig(
        run_dir=str(run.path),
        model=MODEL,
        data=data,
        optimizer=AdamWConfig(),
        schedule=Constant(),
        training=TrainingConfig(total_steps=1, batch_size=1),
        initialize_from=source,
    )
    run.write_config(config)
    _, vocabulary = run.read_model()
    run.write_model(MODEL, vocabulary, execution=Execution(), is_imported=is_imported)
    ids = vocabulary.encode(TEXT).tolist()
    prompts = {
        "text": [vocabulary.bos_id, *ids],
        "ids": ids,
        "ids and EOS": [*ids, vocabulary.eos_id],
    }
    assert prompt(run) == prompts[expected]


@given(mode=st.sampled_from(["", "[R] ", "[S] ", "[X] "]), length=st.integers(3, 8))
def test_what_is_cut_of_an_input_is_what_its_mode_can_spare(mode, length):
    """Inputs to fill in lose their end, a text to continue its beginning; the mode stays."""
    vocabulary, model = ByteVocabulary(extra_ids=100), dataclasses.replace(MODEL, vocab_size=512)
    source = PretrainingDataConfig(store="store", objective=Ul2())
    writing = decoding_mode(model)(model, vocabulary, encoder_length=length, max_decode_length=1)
    row = writing.row(writing.prompts([mode + TEXT], TrainedOn(source, source, from_scratch=True))[0])
    is_continued, rest = mode in ("", "[S] "), vocabulary.encode(TEXT).tolist()
    front = [mode_ids(vocabulary)[mode[1]]] if mode else []
    room = length - len(front)
    kept = rest[-room:] if is_continued else [*rest[: room - 1], vocabulary.eos_id]
    assert row.ids.tolist() == [*front, *kept]
    assert (row.keeps_end, row.cut) == (is_continued, len(rest) + len(front) + (not is_continued) > length)
