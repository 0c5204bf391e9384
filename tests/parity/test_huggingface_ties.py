"""Exports keep their logits when transformers ties again or the vocabulary grows; T5 1.1 by one line."""

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch
import transformers

from t5lite.interop.huggingface import export_folder, fits
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, ModelConfig
from t5lite.models.functional import build
from tests.families import FAMILIES, TRAINED_AS, VOCAB_SIZE

PAGE = Path(__file__).parents[2] / "docs" / "downstream.md"


def _cases() -> dict[str, ModelConfig]:
    """Every family that transformers has, once; tied and untied where it may be either."""
    cases = {
        name: config for name, config in FAMILIES.items() if TRAINED_AS[name] == name and not fits(config)
    }
    for name, config in list(cases.items()):
        if isinstance(config, DecoderOnlyConfig):
            flipped = dataclasses.replace(config, tie_embeddings=not config.tie_embeddings)
            cases[f"{name}-{'tied' if flipped.tie_embeddings else 'untied'}"] = flipped
    return cases


CASES = _cases()
CHANGES = {
    "tie": lambda model: model.tie_weights(),
    "same size": lambda model: model.resize_token_embeddings(VOCAB_SIZE),
    "larger": lambda model: model.resize_token_embeddings(VOCAB_SIZE + 5),
    "larger, then tied": lambda model: (model.resize_token_embeddings(VOCAB_SIZE + 5), model.tie_weights()),
}


def exported(config: ModelConfig, folder: Path) -> Any:
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: (0.3 * rng.standard_normal(leaf.shape)).astype(leaf.dtype), build(config).abstract_params
    )
    return export_folder(params, config, folder)


def logits(model: Any) -> np.ndarray:
    tokens = torch.from_numpy(np.random.default_rng(1).integers(2, VOCAB_SIZE, (3, 7)))
    inputs = {"input_ids": tokens}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tokens
    with torch.no_grad():
        outputs = model.eval()(**inputs)
    found = next(outputs[name] for name in ("logits", "prediction_logits") if name in outputs)
    return found.numpy()[..., :VOCAB_SIZE]


@pytest.fixture(scope="module")
def load() -> Any:
    """Return the page's ``load``."""
    block = re.search(
        r"```python\n(import transformers\n\n\ndef load.*?)```", PAGE.read_text(), flags=re.DOTALL
    )
    assert block
    names: dict[str, Any] = {}
    exec(block[1], names)
    return names["load"]


@pytest.mark.parametrize("name", CASES)
def test_tying_again_and_growing_change_no_logit(name, load, tmp_path):
    export = exported(CASES[name], tmp_path / "out")
    plain = getattr(transformers, export.class_name).from_pretrained
    remedied = isinstance(CASES[name], EncoderDecoderConfig) and not CASES[name].tie_embeddings
    assert bool(export.after_loading) == remedied
    loaded = (load if remedied else plain)(tmp_path / "out")
    expected = logits(plain(tmp_path / "out") if remedied else loaded)
    for what, change in CHANGES.items():
        model = copy.deepcopy(loaded)
        change(model)
        np.testing.assert_array_equal(logits(model), expected, err_msg=what)


def test_the_remedy_is_still_needed(tmp_path):
    """When this fails, transformers has mended it: the page and ``after_loading`` can go."""
    exported(CASES["t5-1.1"], tmp_path / "out")
    model = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "out")
    expected = logits(model)
    model.tie_weights()
    assert np.abs(logits(model) - expected).max() > 0.1


def test_the_remedy_survives_saving_and_loading(load, tmp_path):
    exported(CASES["t5-1.1"], tmp_path / "out")
    model = load(tmp_path / "out")
    model.tie_weights()
    model.save_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(logits(load(tmp_path / "saved")), logits(load(tmp_path / "out")))
