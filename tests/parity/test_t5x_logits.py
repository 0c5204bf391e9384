"""A T5X checkpoint computes here what transformers computes with the same leaves, converted by its own rules.

The way from T5X to transformers is that of transformers' convert_t5x_checkpoint_to_pytorch.py and
convert_umt5_checkpoint_to_pytorch.py, and takes no code of t5lite.
"""

import jax
import numpy as np
import pytest
import torch
from t5_reference import make_batch, make_params, transformers_logits
from transformers import T5Config, T5ForConditionalGeneration, UMT5Config, UMT5ForConditionalGeneration

from t5lite.interop.t5x import import_folder
from t5lite.models.config import EncoderDecoderConfig, GatedMLP, PlainMLP, RelativePositions
from t5lite.models.functional import build
from tests.t5x_writer import target_of, write_msgpack_checkpoint, write_orbax_checkpoint

SIZES = {"vocab_size": 96, "embed_dim": 32, "mlp_dim": 48, "head_dim": 8, "num_heads": 3}
DEPTHS = {"encoder": 2, "decoder": 3}
LAYER_NAMES = {
    "encoder": [
        ("SelfAttention", "attention", "pre_attention_layer_norm"),
        (None, "mlp", "pre_mlp_layer_norm"),
    ],
    "decoder": [
        ("SelfAttention", "self_attention", "pre_self_attention_layer_norm"),
        ("EncDecAttention", "encoder_decoder_attention", "pre_cross_attention_layer_norm"),
        (None, "mlp", "pre_mlp_layer_norm"),
    ],
}


def state_dict_of(target, *, scanned):
    """transformers' tensors from T5X's leaves."""

    def leaf(stack, i, name):
        if not scanned:
            return target[f"{stack}/layers_{i}/{name}"]
        return target[f"{stack}/{stack}/{name}"].take(i, axis=1)

    tensors = {"shared.weight": target["token_embedder/embedding"]}
    tensors["lm_head.weight"] = target.get("decoder/logits_dense/kernel", tensors["shared.weight"].T).T
    for stack, depth in DEPTHS.items():
        tensors[f"{stack}.embed_tokens.weight"] = tensors["shared.weight"]
        tensors[f"{stack}.final_layer_norm.weight"] = target[f"{stack}/{stack}_norm/scale"]
        for i in range(depth):
            bias = f"{stack}.block.{i}.layer.0.SelfAttention.relative_attention_bias.weight"
            if scanned:
                tensors[bias] = leaf(stack, i, "relpos_bias/rel_embedding").T
            elif i == 0:
                tensors[bias] = target[f"{stack}/relpos_bias/rel_embedding"].T
            for number, (module, ours, norm) in enumerate(LAYER_NAMES[stack]):
                block = f"{stack}.block.{i}.layer.{number}"
                tensors[f"{block}.layer_norm.weight"] = leaf(stack, i, f"{norm}/scale")
                if module is None:
                    for kernel in ("wi", "wi_0", "wi_1", "wo"):
                        if any(name.endswith(f"mlp/{kernel}/kernel") for name in target):
                            tensors[f"{block}.DenseReluDense.{kernel}.weight"] = leaf(
                                stack, i, f"mlp/{kernel}/kernel"
                            ).T
                    continue
                for short, kernel in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "out")):
                    matrix = leaf(stack, i, f"{ours}/{kernel}/kernel")
                    if matrix.ndim == 3:
                        rows = matrix.shape[0] * (matrix.shape[1] if kernel == "out" else 1)
                        matrix = matrix.reshape(rows, -1)
                    tensors[f"{block}.{module}.{short}.weight"] = matrix.T
    return {name: torch.tensor(np.ascontiguousarray(value)) for name, value in tensors.items()}


def make_peer(tensors, config):
    common = {
        "vocab_size": config.vocab_size,
        "d_model": config.embed_dim,
        "d_kv": config.head_dim,
        "d_ff": config.mlp_dim,
        "num_heads": config.num_heads,
        "num_layers": DEPTHS["encoder"],
        "num_decoder_layers": DEPTHS["decoder"],
        "feed_forward_proj": "relu" if config.mlp.num_inputs == 1 else "gated-gelu",
        "dropout_rate": 0.0,
    }
    if config.positions.layer_bias is not None:
        peer = UMT5ForConditionalGeneration(UMT5Config(**common))
        # transformers 5 scales the logits of every umT5, which T5X does not.
        tensors["lm_head.weight"] = tensors["lm_head.weight"] * config.embed_dim**0.5
    else:
        peer = T5ForConditionalGeneration(T5Config(**common, scale_decoder_outputs=config.tie_embeddings))
    if not config.tie_embeddings:  # cut the tie that the configuration class made
        peer.lm_head.weight = torch.nn.Parameter(torch.empty_like(tensors["lm_head.weight"]))
    peer.load_state_dict(tensors, strict=True)
    return peer.eval()


@pytest.mark.parametrize("version", ["T5 1.0", "T5 1.1", "umT5"])
def test_logits_equal_those_of_transformers(tmp_path, version):
    """1.0 unscanned with arrays inline, 1.1 unscanned in zarr, umT5 scanned in Orbax, heads apart."""
    scanned = version == "umT5"
    config = EncoderDecoderConfig(
        **SIZES,
        num_encoder_layers=DEPTHS["encoder"],
        num_decoder_layers=DEPTHS["decoder"],
        mlp=PlainMLP(activation="relu") if version == "T5 1.0" else GatedMLP(activation="gelu_tanh"),
        tie_embeddings=version == "T5 1.0",
        positions=RelativePositions(per_layer=scanned),
    )
    written = jax.tree.map(np.asarray, make_params(build(config), seed=3))
    target = target_of(written, scanned=scanned, apart=config.head_dim if scanned else None)
    directory = tmp_path / "checkpoint_1"
    if scanned:
        write_orbax_checkpoint(directory, target)
    else:
        write_msgpack_checkpoint(directory, target, stored="kernel" if version == "T5 1.1" else None)
    found, params = import_folder(directory)
    assert found == config
    batch = make_batch(vocab_size=96, encoder_length=40, decoder_length=30, seed=1)
    logits_BLV = jax.jit(lambda params, batch: build(found).bind(params)(batch))(params, batch)
    with torch.no_grad():
        peer = make_peer(state_dict_of(target, scanned=scanned), config)
        expected_BLV = transformers_logits(peer, batch).numpy()
    assert expected_BLV.std() > 0.5
    np.testing.assert_allclose(logits_BLV, expected_BLV, atol=1e-4, rtol=0)
