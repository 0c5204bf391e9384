"""Tiny models of the three architectures with each kind of positions, and rows to hold against each other."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tiny_models import make_params

from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    Execution,
    GatedMLP,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    PlainMLP,
    RelativePositions,
    RMSNorm,
    RotaryPositions,
    SinusoidalPositions,
)
from t5lite.models.functional import FunctionalModel, build

VOCAB_SIZE = 40
BIASES: dict[str, Any] = {
    "attention": AttentionConfig(scaled=True, biases="all"),
    "norm": LayerNorm(),
    "mlp": PlainMLP(activation="relu", bias=True),
}
"""Everything that may have a bias with one."""
POSITIONS: dict[str, dict[str, Any]] = {
    "relative": {"positions": RelativePositions(num_buckets=8, max_distance=6), "norm": RMSNorm()},
    "relative_per_layer": {
        "positions": RelativePositions(num_buckets=8, max_distance=6, per_layer=True),
        "mlp": PlainMLP(),
        "norm": RMSNorm(),
    },
    "learned": {
        **BIASES,
        "positions": LearnedPositions(),
        "mlp": PlainMLP(activation="gelu_tanh", bias=True),
        "max_length": 12,
    },
    "sinusoidal": {**BIASES, "positions": SinusoidalPositions(), "norm_placement": "post"},
    "rotary": {
        "positions": RotaryPositions(),
        "num_kv_heads": 2,
        "mlp": GatedMLP(activation="silu"),
        "norm": RMSNorm(),
        "attention": AttentionConfig(scaled=True),
    },
    "windows": {
        "positions": RotaryPositions(local_base=100.0),
        "norm": RMSNorm(one_plus=True),
        "norm_placement": "around",
        "attention": AttentionConfig(scaled=True, softcap=5.0, qk_norm=True, windows=(3, None)),
        "logit_softcap": 8.0,
    },
}
"""Every kind of positions, with other options of the models that use it; the last one is Gemma's."""
ARCHITECTURES: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "encoder_decoder": (EncoderDecoderConfig, {"num_encoder_layers": 2, "num_decoder_layers": 2}),
    "decoder_only": (DecoderOnlyConfig, {"num_layers": 2, "tie_embeddings": True, "logit_scale": 0.25}),
    "encoder_only": (EncoderOnlyConfig, {"num_layers": 2, "norm_placement": "pre", "logit_scale": 0.25}),
}


def make_config(architecture: str, **changes: Any) -> Any:
    cls, fields = ARCHITECTURES[architecture]
    sizes = {"vocab_size": VOCAB_SIZE, "embed_dim": 16, "mlp_dim": 24, "head_dim": 4, "num_heads": 4}
    return cls(**{**sizes, **fields, **changes})


class Tiny(NamedTuple):
    """A model, perturbed parameters, and its compiled forward pass ``(params, batch) -> [B, L, V]``."""

    model: FunctionalModel
    params: Any
    forward: Any

    @property
    def config(self) -> Any:
        return self.model.config


def make_tiny(architecture: str, **changes: Any) -> Tiny:
    return tiny_from_config(make_config(architecture, **changes))


def tiny_from_config(config: ModelConfig, params: Any = None, execution: Execution | None = None) -> Tiny:
    model = build(config, execution)
    return Tiny(model, make_params(model) if params is None else params, jax.jit(make_forward(model)))


def make_forward(model: FunctionalModel) -> Any:
    def forward(params: Any, batch: Any, dropout_key: Any = None) -> jax.Array:
        outputs = model.bind(params)(batch, dropout_key=dropout_key)
        return outputs["tokens"] if isinstance(outputs, dict) else outputs

    return forward


def make_rows(config: ModelConfig, rows: list[list[tuple[int, int]]], *, length: int) -> dict[str, jax.Array]:
    """Return a batch; a row is a list of parts (seed, length), packed in that order and padded by 0.

    A part of seed 0 is padding of its length. The parts of the encoder of an encoder-decoder are longer by
    one token, and drawn from another seed.
    """
    batch: dict[str, Any] = {}
    for stack in config.sides:
        memory = stack == "encoder" and config.architecture == "encoder_decoder"
        tokens, ids = np.zeros((2, len(rows), length + 2 * memory), np.int32)
        for row, parts in enumerate(rows):
            start = 0
            for number, (seed, size) in enumerate(parts, start=1):
                size += memory
                rng = np.random.default_rng([seed, memory])
                tokens[row, start : start + size] = rng.integers(2, VOCAB_SIZE, size)
                ids[row, start : start + size] = number if seed else 0
                start += size
        batch[f"{stack}_input_tokens"], batch[f"{stack}_segment_ids"] = jnp.asarray(tokens), jnp.asarray(ids)
    return batch


def assert_trees_close(got: Any, expected: Any, *, rtol: float) -> None:
    """Compare leaf by leaf, relative to the largest entry of the leaf.

    A bias of all keys shifts a row of attention logits by one value, which the softmax takes back: its
    gradient is rounding noise, so no leaf is compared more finely than a hundredth of the largest one is.
    """
    others = dict(jax.tree_util.tree_leaves_with_path(got))
    overall = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        atol = rtol * max(float(np.abs(leaf).max()), 1e-2 * overall)
        np.testing.assert_allclose(others[path], leaf, rtol=0, atol=atol, err_msg=str(path))
