"""A run directory keeps every kind of vocabulary and of model, and what does not fit together is refused."""

import dataclasses
import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.checkpointing.lease import LEASE_FOLDER
from t5lite.core import machine_errors
from t5lite.core.errors import CheckpointError, ConfigError, UserError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.files import write_text
from t5lite.core.storage.addresses import place
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.objectives.causal_lm import CausalLM
from t5lite.data.vocabulary import ByteVocabulary, SentencePieceVocabulary, open_vocabulary, train_vocabulary
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, Execution
from t5lite.optim import AdamWConfig, Constant
from t5lite.run_config import RunConfig
from t5lite.runner import run_directory, snapshot
from t5lite.runner.earlier_run import earlier_run
from t5lite.runner.run_directory import FILES, FOLDERS, RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.vocabulary_check import check_vocabulary
from t5lite.training.config import TrainingConfig
from t5lite.training.watchdog import STACKS_FOLDER
from tests.small_tokenizers import write_bpe, write_unigram_with_sentinels, write_wordpiece

TEXTS = ["the words of a text to learn from, quickly", "an other text with more of the words"]
SMALL = {"vocab_size": 512, "embed_dim": 8, "mlp_dim": 16, "head_dim": 4, "num_heads": 2}
ENCODER_DECODER = EncoderDecoderConfig(**SMALL, num_encoder_layers=1, num_decoder_layers=1)
ENCODER_ONLY = EncoderOnlyConfig(**SMALL, num_layers=1, head="pretraining")
DECODER_ONLY = DecoderOnlyConfig(**SMALL, num_layers=1, num_kv_heads=1)
CONFIG = RunConfig(
    run_dir="run",
    model=DECODER_ONLY,
    data=PretrainingDataConfig(store="store", objective=CausalLM()),
    optimizer=AdamWConfig(),
    schedule=Constant(),
    training=TrainingConfig(total_steps=1, batch_size=1),
)
MODELS = [ENCODER_DECODER, ENCODER_ONLY, DECODER_ONLY]


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabularies")
    train_vocabulary(TEXTS, folder / "spiece.model", size=26)
    return {
        "sentencepiece": SentencePieceVocabulary(folder / "spiece.model", 6),
        "bytes": ByteVocabulary(),
        "wordpiece": open_vocabulary(write_wordpiece(folder / "wordpiece", TEXTS, size=60)),
        "bpe": open_vocabulary(write_bpe(folder / "bpe", TEXTS, size=260)),
        "unigram": open_vocabulary(write_unigram_with_sentinels(folder / "unigram", sentinels=2)),
    }


def check_directory(directory, model, vocabulary):
    earlier_run(Snapshot(directory)).check(directory, model, vocabulary)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.architecture)
def test_models_and_vocabularies_come_back(model, vocabularies, tmp_path):
    directory = RunDirectory.at(tmp_path / "run")
    for vocabulary in vocabularies.values():  # each replaces the one before it, whatever its files
        check_directory(directory, model, vocabulary)
        directory.write_model(model, vocabulary, execution=Execution())
        again_model, again = directory.read_model()
        assert again_model == model
        assert type(again_model) is type(model)
        assert (again.fingerprint, again.kind) == (vocabulary.fingerprint, vocabulary.kind)
        assert again.path.parent == directory.path


def test_a_run_from_before_there_was_a_choice_is_read(vocabularies, tmp_path):
    vocabulary = vocabularies["sentencepiece"]
    directory = RunDirectory.at(tmp_path)
    directory.write_model(ENCODER_DECODER, vocabulary, execution=Execution())
    saved = json.loads(directory.model_file.read_text())
    del saved["version"], saved["execution"]
    choices = {"mlp_activation": "gated_gelu", "relpos_buckets": 32, "norm_epsilon": 1e-6}
    saved["config"] = {**SMALL, "num_encoder_layers": 1, "num_decoder_layers": 1, **choices}
    del saved["vocabulary"]["kind"], saved["vocabulary"]["file"]
    directory.model_file.write_text(json.dumps(saved))
    model, again = directory.read_model()
    assert model == ENCODER_DECODER
    assert again.fingerprint == vocabulary.fingerprint
    check_directory(directory, ENCODER_DECODER, vocabulary)


@pytest.mark.parametrize("name", ["sentencepiece", "bytes", "bpe"])
def test_a_start_that_is_cut_off_is_no_run_and_can_be_repeated(vocabularies, tmp_path, monkeypatch, name):
    vocabulary, directory = vocabularies[name], RunDirectory.at(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(run_directory, "write_json", _die)
        with pytest.raises(KeyboardInterrupt):
            directory.write_model(DECODER_ONLY, vocabulary, execution=Execution())
    assert {path.name for path in tmp_path.iterdir()} == {*vocabulary.files, "README.txt"}
    with pytest.raises(ConfigError, match="is not a run directory"):
        directory.read_model()
    check_directory(directory, DECODER_ONLY, vocabulary)
    directory.write_model(DECODER_ONLY, vocabulary, execution=Execution())
    assert directory.read_model()[1].fingerprint == vocabulary.fingerprint


def _die(*_):
    raise KeyboardInterrupt


def test_another_architecture_or_vocabulary_needs_another_directory(vocabularies, tmp_path, monkeypatch):
    directory = RunDirectory.at(tmp_path)
    directory.write_model(DECODER_ONLY, vocabularies["bytes"], execution=Execution())
    monkeypatch.setattr(snapshot, "available_steps", lambda path: [3])
    check_directory(directory, DECODER_ONLY, vocabularies["bytes"])
    with pytest.raises(CheckpointError, match=r"\(architecture: 'decoder_only' → 'encoder_only'\)"):
        check_directory(directory, ENCODER_ONLY, vocabularies["bytes"])
    with pytest.raises(CheckpointError, match=r"vocabulary\.kind: 'bytes' → 'tokenizer_json'"):
        check_directory(directory, DECODER_ONLY, vocabularies["bpe"])


def test_a_model_file_that_contradicts_itself_is_refused(vocabularies, tmp_path):
    directory = RunDirectory.at(tmp_path)
    directory.write_model(ENCODER_ONLY, vocabularies["bytes"], execution=Execution())
    saved = json.loads(directory.model_file.read_text())
    directory.model_file.write_text(json.dumps(saved | {"architecture": "decoder_only"}))
    with pytest.raises(ConfigError, match="is 'decoder_only', but config is a EncoderOnlyConfig"):
        directory.read_model()


def test_a_vocabulary_that_was_changed_is_refused(vocabularies, tmp_path):
    directory = RunDirectory.at(tmp_path)
    directory.write_model(ENCODER_ONLY, vocabularies["wordpiece"], execution=Execution())
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "[SEP]"}')
    with pytest.raises(ConfigError, match=r"tokenizer\.json is not the vocabulary that this run"):
        directory.read_model()


def test_a_directory_with_somebody_elses_tokenizer_is_left_alone(vocabularies, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"is not a run .* and has tokenizer\.json"):
        check_directory(RunDirectory.at(tmp_path), ENCODER_ONLY, vocabularies["wordpiece"])


FOREIGN = st.sampled_from(
    ["notes.txt", "emma.txt", "data", "bin", "core", "a.log.d", "weights.safetensors", "1.parquet", "ü", "7"]
)
STAYS = st.sampled_from(
    [
        *("train.log", "slurm-7.out", "7.err", "train.log.1", "train.log-20261129.gz", "stdout.txt", "logs"),
        *("train.sbatch", "recipe.py", "recipe.yaml", "__pycache__", "xla_dump", "lost+found"),
        *("core.1234", "core.python3.77", ".README.txt.12ab34cd"),
        *(".gitkeep", ".gitignore", ".DS_Store", ".nfs0000001", ".snapshot", ".ipynb_checkpoints"),
        *sorted({*FILES, *FOLDERS} - {"model.json", "config.json"}),
    ]
)
CLAIM = f"{LEASE_FOLDER}/000001.json"
HOLDER = dict.fromkeys(("owner", "host", "command", "since"), "a") | dict.fromkeys(
    ("pid", "job", "machine", "born")
)
MARKS = {
    "model.json": "{}",
    "config.json": json.dumps(run_config.to_json(CONFIG)),
    CLAIM: json.dumps(HOLDER),
}
"""What only a run has, or a start that was let in and then killed."""
NO_MARKS = {
    "config.json": json.dumps({"architectures": ["T5ForConditionalGeneration"], "d_model": 512}),
    CLAIM: "{}",
}
"""What a Hugging Face model has, and a claim of nobody's."""
_IN_FOLDERS = {
    *FOLDERS,
    *("data", "bin", "core", "logs", "xla_dump", "__pycache__", "lost+found", ".snapshot"),
}


def filled(path, names, contents=()):
    for name in names:
        write_text(path / (f"{name}/1/a" if name in _IN_FOLDERS else name), "1")
    for name, content in contents:
        write_text(path / name, content)


@settings(max_examples=60, deadline=None)
@given(
    foreign=st.sets(FOREIGN, max_size=3),
    stays=st.sets(STAYS, max_size=6),
    marks=st.sets(st.sampled_from([*MARKS.items(), *NO_MARKS.items()]), max_size=1),
    in_bucket=st.booleans(),
)
def test_a_directory_is_a_run_s_own_or_refused(foreign, stays, marks, in_bucket, gcs, tmp_path_factory):
    """What holds others' files is no run directory, on a disk and in a bucket, until it is a run.

    What lies there by itself, or is of a run's job, is not asked about.
    """
    folder = tmp_path_factory.mktemp("own")
    path = place(f"{gcs}/{folder.name}") if in_bucket else folder
    filled(path, {*foreign, *stays}, marks)
    directory = RunDirectory.at(str(path))
    others = foreign | ({"config.json"} if ("config.json", NO_MARKS["config.json"]) in marks else set())
    if others and not marks & MARKS.items():
        with pytest.raises(ConfigError) as refused:
            directory.check_holds_no_others()
        first, *_ = sorted(others)
        assert f"is not a run (no model.json) and holds {first}" in str(refused.value)
        assert f"move {'them' if len(others) > 1 else 'it'} away, or give" in str(refused.value)
        remedy = str(refused.value).rpartition("such as ")[2]
        RunDirectory.at(remedy).check_holds_no_others()
        with pytest.raises(ConfigError, match="is not a run"):  # and so for what holds it
            RunDirectory.at(gcs if in_bucket else str(folder.parent)).check_holds_no_others()
    else:
        directory.check_holds_no_others()


def test_a_home_is_no_run_directory_whatever_it_holds(tmp_path, monkeypatch):
    """The home of a new machine holds nothing but hidden files."""
    filled(tmp_path, [".bashrc", "train.log"])
    RunDirectory.at(tmp_path).check_holds_no_others()
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"is not a run .* and holds \.bashrc, train\.log; move them away"):
        RunDirectory.at("~").check_holds_no_others()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EACCES, ExitCode.USER_ERROR),  # of mode 0300
        (errno.EIO, ExitCode.TRANSIENT),
        (errno.EUCLEAN, ExitCode.USER_ERROR),
    ],
)
def test_a_directory_that_cannot_be_listed_is_refused(number, code, tmp_path, monkeypatch):
    def fails(path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "iterdir", fails)
    with pytest.raises(UserError, match=rf"run_dir=.* cannot be listed \({os.strerror(number)}\)") as refused:
        RunDirectory.at(tmp_path).check_holds_no_others()
    assert machine_errors.exit_code(refused.value) == code


@pytest.mark.parametrize(
    "name", sorted({*FILES, *FOLDERS, "tokenizer"} - {"model.json", LEASE_FOLDER, STACKS_FOLDER})
)
def test_a_directory_with_anything_of_a_runs_names_is_left_alone(name, vocabularies, tmp_path):
    path = tmp_path / name
    path.mkdir() if "." not in name else path.write_text("mine")
    with pytest.raises(ConfigError, match=rf"is not a run .* and has {name}, which would be overwritten"):
        check_directory(RunDirectory.at(tmp_path), ENCODER_ONLY, vocabularies["wordpiece"])


def test_the_readme_of_a_run_names_all_that_is_in_it(vocabularies, tmp_path):
    RunDirectory.at(tmp_path).write_model(ENCODER_ONLY, vocabularies["bytes"], execution=Execution())
    readme = (tmp_path / "README.txt").read_text()
    named = {*FILES, *(f"{name}/" for name in (*FOLDERS, "tokenizer"))} - {"README.txt"}
    assert {name for name in named if name not in readme} == set()


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        (ENCODER_ONLY, "bpe", r"neither a mask token nor a sentinel .* a masked language model needs one"),
        (ENCODER_DECODER, "wordpiece", "has no eos token, which an encoder-decoder model"),
        (
            ENCODER_DECODER,
            "bpe",
            "has pad_id=None, but .* starts its targets with id 0",
        ),
        (
            dataclasses.replace(ENCODER_DECODER, start_id=2),
            "bytes",
            "has pad_id=0 and bos_id=None, but .* with id 2, which .*; set model.start_id=0",
        ),
    ],
)
def test_misfits_are_refused(vocabularies, model, name, message):
    with pytest.raises(ConfigError, match=message):
        check_vocabulary(vocabularies[name], model)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        *((ENCODER_DECODER, name) for name in ("sentencepiece", "bytes", "unigram")),
        *((ENCODER_ONLY, name) for name in ("sentencepiece", "bytes", "wordpiece")),
        *((DECODER_ONLY, name) for name in ("sentencepiece", "bytes", "wordpiece", "bpe")),
    ],
)
def test_fits_are_accepted(vocabularies, model, name):
    check_vocabulary(vocabularies[name], model)


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        (DECODER_ONLY, "give --extra-ids 0 for a model"),
        (ENCODER_ONLY, "give --extra-ids 0 for a model"),
        (ENCODER_DECODER, "50 sentinels at most: give --extra-ids 50"),
    ],
)
def test_imported_weights_without_sentinels_are_told_to_do_without(vocabularies, model, remedy):
    given = vocabularies["bytes"]
    small = dataclasses.replace(model, vocab_size=given.size - given.extra_ids + 50)
    with pytest.raises(ConfigError, match=remedy):
        check_vocabulary(given, small, imported=True)


def test_a_table_that_is_too_small_is_told_its_size(vocabularies):
    small = DecoderOnlyConfig(**{**SMALL, "vocab_size": 383}, num_layers=1)
    with pytest.raises(ConfigError, match=r"some of the 384 ids of bytes; set model\.vocab_size=384"):
        check_vocabulary(vocabularies["bytes"], small)
