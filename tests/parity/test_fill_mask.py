"""``pipeline("fill-mask")`` on an export gives t5lite's own answer, whatever stands for [MASK]."""

from typing import Any

import jax
import numpy as np
import pytest
from transformers import pipeline

from t5lite.data.vocabulary import open_vocabulary, train_vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.interop.huggingface import export_folder
from t5lite.models.config import EncoderOnlyConfig
from t5lite.models.functional import build


@pytest.fixture(params=["sentencepiece", "bytes"])
def vocabulary(request, tmp_path):
    if request.param == "bytes":
        return open_vocabulary("bytes")
    train_vocabulary(["the house of the words is all there is"] * 3, tmp_path / "spiece.model", size=19)
    return open_vocabulary(tmp_path, extra_ids=4)


def test_the_mask_is_filled_as_here(vocabulary, tmp_path):
    config = EncoderOnlyConfig(
        vocab_size=vocabulary.size, embed_dim=16, mlp_dim=24, head_dim=4, num_heads=4, num_layers=1,
        head="masked_lm",
    )  # fmt: skip
    model, rng = build(config), np.random.default_rng(0)
    params: Any = jax.tree.map(
        lambda leaf: 0.3 * rng.standard_normal(leaf.shape).astype(leaf.dtype), model.abstract_params
    )
    export_folder(params, config, tmp_path / "out", vocabulary=vocabulary)
    fill = pipeline("fill-mask", model=str(tmp_path / "out"), device="cpu")
    mask, cls, sep = special_tokens(vocabulary)
    text = f"the {fill.tokenizer.mask_token} of the house"
    row = np.array([[cls, *vocabulary.encode(text, parse_sentinels=True), sep]], np.int32)
    batch = {"encoder_input_tokens": row, "encoder_segment_ids": np.ones_like(row)}
    logits_MV = jax.jit(lambda params, batch: model.bind(params)(batch)["tokens"][0])(params, batch)
    logits = logits_MV[row[0].tolist().index(mask)]
    best = fill(text)[0]
    assert best["token"] == int(np.argmax(logits))
    assert best["score"] == pytest.approx(float(jax.nn.softmax(logits).max()), abs=1e-4)
