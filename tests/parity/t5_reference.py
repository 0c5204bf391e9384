"""transformers' T5 with the parameters of a t5lite model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration

from t5lite.interop.huggingface import state_dict_from_params
from t5lite.models.config import EncoderDecoderConfig, GatedMLP, PlainMLP, RelativePositions
from t5lite.models.functional import FunctionalModel

VERSIONS = {
    "1.0": {"mlp": PlainMLP(activation="relu"), "tie_embeddings": True},
    "1.1": {"mlp": GatedMLP(activation="gelu_tanh"), "tie_embeddings": False},
}


def make_config(version: str, **changes: Any) -> EncoderDecoderConfig:
    fields: dict[str, Any] = {
        "vocab_size": 96,
        "embed_dim": 32,
        "mlp_dim": 48,
        "head_dim": 8,
        "num_heads": 3,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        **VERSIONS[version],
    }
    return EncoderDecoderConfig(**{**fields, **changes})


def make_params(model: FunctionalModel, seed: int) -> Any:
    """T5's initial scale plus a perturbation of everything, norm scales and relative biases included."""
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = jax.tree_util.keystr(path)
        if "scale" in name:
            return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype)
        std = 1.0 if "embedding" in name else 0.08 if "query" in name else 0.2
        return jnp.asarray(std * rng.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, model.abstract_params)


def make_transformers_model(params: Any, config: EncoderDecoderConfig) -> T5ForConditionalGeneration:
    """Build the peer without files, so that neither config.json nor safetensors takes part."""
    positions = config.positions
    assert isinstance(positions, RelativePositions)
    peer = T5ForConditionalGeneration(
        T5Config(
            vocab_size=config.vocab_size,
            d_model=config.embed_dim,
            d_kv=config.head_dim,
            d_ff=config.mlp_dim,
            num_heads=config.num_heads,
            num_layers=config.num_encoder_layers,
            num_decoder_layers=config.num_decoder_layers,
            relative_attention_num_buckets=positions.num_buckets,
            relative_attention_max_distance=positions.max_distance,
            feed_forward_proj="relu" if config.mlp.num_inputs == 1 else "gated-gelu",
            dropout_rate=0.0,
            # T5Config forces tying; the difference between 1.0 and 1.1 that is left is this one.
            scale_decoder_outputs=config.tie_embeddings,
        )
    )
    tensors = {k: torch.tensor(v) for k, v in state_dict_from_params(params, config).items()}
    for stack in ("encoder", "decoder"):
        tensors[f"{stack}.embed_tokens.weight"] = tensors["shared.weight"]
    if config.tie_embeddings:
        tensors["lm_head.weight"] = tensors["shared.weight"]
    else:
        # Cut the tie that T5Config made before the two tensors are loaded into one.
        peer.lm_head.weight = torch.nn.Parameter(torch.empty_like(tensors["lm_head.weight"]))
    peer.load_state_dict(tensors, strict=True)
    return peer.eval()


def make_batch(*, vocab_size: int, encoder_length: int, decoder_length: int, seed: int) -> dict[str, Any]:
    """Four rows, three of them padded at the encoder's end (one down to a single token)."""
    rng = np.random.default_rng(seed)
    lengths = np.array([encoder_length, encoder_length // 2, 1, encoder_length - 1])
    ids = (np.arange(encoder_length)[None, :] < lengths[:, None]).astype(np.int32)
    tokens = np.where(ids, rng.integers(2, vocab_size, ids.shape), 0)
    return {
        "encoder_input_tokens": tokens.astype(np.int32),
        "encoder_segment_ids": ids,
        "decoder_input_tokens": rng.integers(2, vocab_size, (4, decoder_length)).astype(np.int32),
        "decoder_segment_ids": np.ones((4, decoder_length), np.int32),
    }


def transformers_logits(peer: T5ForConditionalGeneration, batch: dict[str, Any]) -> torch.Tensor:
    return peer(
        input_ids=torch.tensor(batch["encoder_input_tokens"], dtype=torch.long),
        attention_mask=torch.tensor(batch["encoder_segment_ids"], dtype=torch.long),
        decoder_input_ids=torch.tensor(batch["decoder_input_tokens"], dtype=torch.long),
    ).logits
