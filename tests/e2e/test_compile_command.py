"""``t5lite compile``: a real recipe on a TPU slice that is not here, and what it refuses."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.data.objectives import OBJECTIVES
from t5lite.data.pipeline import (
    DataConfig,
    MixtureDataConfig,
    MixtureSource,
    PairsDataConfig,
    PretrainingDataConfig,
    open_pipeline,
)
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.planning.compiled.compile import abstract_batch
from t5lite.planning.report.page import GENERATOR
from t5lite.runner.compilation import batch_shape
from tests.e2e.conftest import RECIPE, Refused, start

HERE = Path(__file__).parent
RECIPES = {
    "encoder_decoder": "tiny_recipe",
    "decoder_only": "tiny_gpt_recipe",
    "encoder_only": "tiny_bert_recipe",
}
COMPILE = ["compile", "--config", str(RECIPE), "--topology", "v5e:2x2"]


@pytest.mark.slow
def test_a_recipe_without_data_compiles(tmp_path):
    """In a process of its own, because it sets the compilation cache: table, page and cache at once."""
    page, cache = tmp_path / "page.html", tmp_path / "cache"
    page.write_text(f"{GENERATOR} an earlier page, which may be replaced")
    process = start(
        [*COMPILE, "--json", "--html", str(page), "--save", str(cache), "--top", "3", "--traffic"]
    )
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["fits"]
    assert summary["mesh"] == {"fsdp": 4}
    assert summary["batch"] == {"batch_size": 8, "encoder_length": 32, "decoder_length": 8}
    assert [len(summary[name]) for name in ("buffers", "traffic")] == [3, 3]
    assert "parameters for v5e:2x2; a large model compiles for minutes" in err
    assert "warn" not in err.lower()
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name.partition("-")[0] for path in cache.iterdir()] == ["jit_sharded_train_step"]


@pytest.mark.slow
def test_a_step_that_does_not_fit_is_an_answer_with_an_exit_code_of_its_own(capsys):
    code = main([*COMPILE, "--training.batch-size", str(2**22)])
    captured = capsys.readouterr()
    assert code == 3
    assert "does not fit: wants" in captured.out
    assert "what to change\n  --execution.remat full" in captured.out
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--topology", "v5e:3x3"], r"libtpu knows no slice v5e:3x3: .*not divisible"),
        (["--topology", "v9:2x2"], r"'v9:2x2' names no known chip.*allowed: .*v5e"),
        (["--topology", "v5e:2x2x2"], r"v5e is arranged in 2 dimensions, such as v5e:4x4"),
        (["--num-slices", 0], r"num_slices=0 must be 1 or more"),
        (["--num-slices", 2], r"partitioning\.replica=1 is not a multiple of the 2 slices; use .*replica=2"),
        (["--training.batch-size", 6], r"batch_size=6 is not divisible by mesh axis 'fsdp'=4; use 4 or 8"),
        (["--partitioning.fsdp", 8], r"mesh fsdp=8 needs 8 devices but 4 are there"),
        (["--partitioning.tensor", 3], r"mesh tensor=3 = 3 does not divide 4 devices"),
        (["--model", "t5-huge"], r"unknown model 't5-huge'; did you mean 't5-large'"),
        (["--html", "full"], r"--html full is a directory; give the name of a file"),
        (["--html", "nowhere/page.html"], r"there is no directory nowhere; make it first"),
        (["--html", "file"], r"--html file is a file that t5lite compile did not write; give another name"),
        (["--html", "/dev/null"], r"/dev/null is a device or a pipe, which cannot be replaced"),
        (["--save", "file"], r"--save file is a file; give the name of a directory"),
        (["--save", "file/cache"], r"the directory file/cache cannot be made \(a file is in its place\)"),
        (["--save", "new/cache", "--training.batch-size", 6], r"batch_size=6 is not divisible"),
        (["--top", -1], r"--top -1 must not be negative"),
    ],
)
def test_what_does_not_fit_together_is_refused(options, message, refused: Refused, monkeypatch):
    def too_late(*_):
        raise AssertionError("reached the compiler")

    monkeypatch.setattr("t5lite.planning.compiled.compile.compile_with_notes", too_late)
    refused([*COMPILE, *options], message)


CASES = [
    *((name, each, {}) for name, kind in OBJECTIVES.items() for each in kind.architectures),
    ("MaskedLM", "encoder_only", {"next_sentence": True}),
    ("MaskedLM", "encoder_only", {"pack": True}),
]


@pytest.mark.parametrize(("name", "architecture", "options"), CASES)
def test_text_is_compiled_for_as_it_is_trained_on(name, architecture, options, text_data):
    objective = OBJECTIVES[name](**options)
    data = PretrainingDataConfig(store=str(text_data / "train"), inputs_length=32, objective=objective)
    head = "pretraining" if objective.pairs_sentences else None
    assert_same_batch(data, architecture, head=head)


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder_only"])
def test_pairs_are_compiled_for_as_they_are_trained_on(architecture, pack, pair_data):
    data = PairsDataConfig(store=str(pair_data / "train"), inputs_length=24, targets_length=24, pack=pack)
    assert_same_batch(data, architecture)


def test_a_mixture_is_compiled_for_as_it_is_trained_on(text_data, pair_data):
    text = PretrainingDataConfig(store=str(text_data / "train"), inputs_length=32)
    pairs = PairsDataConfig(store=str(pair_data / "train"), inputs_length=48, targets_length=24)
    sources = (
        MixtureSource(name="text", data=text, weight=1.0),
        MixtureSource(name="pairs", data=pairs, weight=1.0),
    )
    assert_same_batch(MixtureDataConfig(sources=sources), "encoder_decoder")


def assert_same_batch(data: DataConfig, architecture: str, *, head: str | None = None) -> None:
    """Fields, shapes and dtypes that the program is compiled for are those that the pipeline gives."""
    config = run_config.load(HERE / f"{RECIPES[architecture]}.py")
    model = dataclasses.replace(config.model, head=head) if head else config.model
    config = dataclasses.replace(config, data=data, model=model)
    pipeline = open_pipeline(data, architecture=architecture, seed=config.seed)
    rows = pipeline.rows(np.arange(config.training.batch_size))
    made = abstract_batch(config.model, batch_shape(config), make_partitioner(PartitioningConfig()))
    assert {name: (field.shape, field.dtype) for name, field in made.items()} == {
        name: (field.shape, field.dtype) for name, field in rows.items()
    }
