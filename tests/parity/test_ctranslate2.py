"""A converted export decodes in CTranslate2 as it does here, by the code that docs/downstream.md shows."""

import re
from pathlib import Path
from typing import Any

import ctranslate2
import jax
import numpy as np
import pytest
from transformers import AutoTokenizer

from t5lite.core.types import EOS_ID
from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary
from t5lite.decoding import greedy
from t5lite.interop.huggingface import export_folder
from t5lite.models.config import EncoderDecoderConfig, GatedMLP, PlainMLP, RelativePositions
from t5lite.models.functional import build

LINES = (Path(__file__).parent / "real_lines.txt").read_text(encoding="utf-8").splitlines()
PAGE = Path(__file__).parents[2] / "docs" / "downstream.md"
MODELS: dict[str, dict[str, Any]] = {
    "1.0": {"mlp": PlainMLP(activation="relu"), "tie_embeddings": True},
    "1.1": {"mlp": GatedMLP(activation="gelu_tanh"), "tie_embeddings": False},
    "umT5": {
        "mlp": GatedMLP(activation="gelu_tanh"),
        "tie_embeddings": False,
        "positions": RelativePositions(num_buckets=16, max_distance=40, per_layer=True),
    },
}
NUM_TEXTS, MAX_DECODE_LENGTH = 48, 24
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    train_vocabulary(LINES[::2], path, size=400, character_coverage=0.999)
    return SentencePieceVocabulary(path, extra_ids=20)


@pytest.fixture(scope="module")
def convert():
    """Return the page's ``convert``."""
    block = re.search(r"```python\n(import ctranslate2\n\n\nclass .*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert block
    names: dict[str, Any] = {}
    exec(block[1], names)
    return names["convert"]


def make_params(config: EncoderDecoderConfig) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: np.array(x + 0.2 * rng.standard_normal(x.shape), x.dtype),
        jax.jit(build(config).init)(jax.random.key(0)),
    )


def make_inputs(vocabulary: SentencePieceVocabulary) -> dict[str, np.ndarray]:
    """Texts, the first with a sentinel in it, as T5 sees them: EOS at the end, then padding."""
    texts = ["The <extra_id_0> of the Lord", *(line[:120] for line in LINES[: NUM_TEXTS - 1])]
    rows = [[*vocabulary.encode(text, parse_sentinels=True).tolist(), EOS_ID] for text in texts]
    tokens_BM = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for i, row in enumerate(rows):
        tokens_BM[i, : len(row)] = row
    return {"encoder_input_tokens": tokens_BM, "encoder_segment_ids": (tokens_BM != 0).astype(np.int32)}


def decode(config: EncoderDecoderConfig, params: Any, inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return greedy tokens and the log probability of each."""
    model = build(config)
    tokens_BL = np.asarray(
        jax.jit(
            lambda params, tokens, segments: greedy(
                model.bind(params),
                tokens,
                encoder_segment_ids_BM=segments,
                max_decode_length=MAX_DECODE_LENGTH,
            )
        )(params, *inputs.values())
    )
    shifted_BL = np.concatenate([np.zeros((len(tokens_BL), 1), np.int32), tokens_BL[:, :-1]], axis=1)
    batch = {**inputs, "decoder_input_tokens": shifted_BL, "decoder_segment_ids": np.ones_like(shifted_BL)}
    logits_BLV = jax.jit(lambda params, batch: model.bind(params)(batch))(params, batch)
    log_probs_BLV = np.asarray(jax.nn.log_softmax(logits_BLV))
    return tokens_BL, np.take_along_axis(log_probs_BLV, tokens_BL[:, :, None], axis=2)[:, :, 0]


@pytest.mark.parametrize("name", MODELS)
def test_a_converted_model_decodes_the_same(name, vocabulary, convert, tmp_path):
    config = EncoderDecoderConfig(
        vocab_size=vocabulary.size,
        embed_dim=32,
        mlp_dim=48,
        head_dim=12,
        num_heads=3,
        num_encoder_layers=2,
        num_decoder_layers=3,
        **{"positions": RelativePositions(num_buckets=16, max_distance=40), **MODELS[name]},
    )
    params, inputs = make_params(config), make_inputs(vocabulary)
    export_folder(params, config, tmp_path / "exported", vocabulary=vocabulary)
    convert(str(tmp_path / "exported"), str(tmp_path / "converted"))
    translator = ctranslate2.Translator(str(tmp_path / "converted"), device="cpu", compute_type="float32")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported", local_files_only=True)

    tokens_BL, log_probs_BL = decode(config, params, inputs)
    lengths = inputs["encoder_segment_ids"].sum(1)
    rows = [row[:length] for row, length in zip(inputs["encoder_input_tokens"], lengths, strict=True)]
    sources = [tokenizer.convert_ids_to_tokens(row.tolist()) for row in rows]
    targets = [tokenizer.convert_ids_to_tokens(row.tolist()) for row in tokens_BL]
    ends = [[*row.tolist(), EOS_ID].index(EOS_ID) for row in tokens_BL]

    results = translator.translate_batch(sources, beam_size=1, max_decoding_length=MAX_DECODE_LENGTH)
    assert [each.hypotheses[0] for each in results] == [t[:n] for t, n in zip(targets, ends, strict=True)]
    assert len({tuple(target) for target in targets}) > NUM_TEXTS // 4, "the outputs should differ"

    whole = [i for i, end in enumerate(ends) if end == MAX_DECODE_LENGTH]
    assert len(whole) > NUM_TEXTS // 2
    scored = translator.score_batch([sources[i] for i in whole], [targets[i] for i in whole])
    theirs = np.array([each.log_probs[:MAX_DECODE_LENGTH] for each in scored])
    np.testing.assert_allclose(theirs, log_probs_BL[whole], rtol=0, atol=1e-3)
