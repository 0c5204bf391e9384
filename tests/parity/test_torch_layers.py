"""The blocks of 2017 against torch.nn.TransformerEncoderLayer and TransformerDecoderLayer.

Post-norm, ReLU, biases, divided logits; perturbed weights, padding in both stacks. Whole models too: scaled
embeddings plus sines in, tied logits out, as in Vaswani et al. 2017.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from t5lite.models.config import (
    AttentionConfig,
    EncoderDecoderConfig,
    LayerNorm,
    PlainMLP,
    SinusoidalPositions,
)
from t5lite.models.functional import build

CONFIG = EncoderDecoderConfig(
    vocab_size=30,
    embed_dim=16,
    mlp_dim=24,
    head_dim=4,
    num_heads=4,
    num_encoder_layers=2,
    num_decoder_layers=3,
    positions=SinusoidalPositions(),
    norm=LayerNorm(epsilon=1e-5),
    norm_placement="post",
    mlp=PlainMLP(activation="relu", bias=True),
    attention=AttentionConfig(scaled=True, biases="all"),
    tie_embeddings=True,
    embedding_scale=4.0,
    logit_scale=1.0,
)
LENGTHS = {"encoder": np.array([7, 3, 5]), "decoder": np.array([4, 6, 1])}
IDS = {
    stack: (np.arange(lengths.max())[None, :] < lengths[:, None]).astype(np.int32)
    for stack, lengths in LENGTHS.items()
}


@pytest.fixture(scope="module")
def params():
    """Weights of about unit effect; norms and biases are perturbed like the rest."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path)
        if "scale" in name:
            return rng.uniform(0.6, 1.4, leaf.shape).astype(np.float32)
        return (0.3 * rng.standard_normal(leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, build(CONFIG).abstract_params)


def attention_tensors(attention, name):
    kernels = [attention[n].T for n in ("query", "key", "value")]
    biases = [attention[f"{n}_bias"] for n in ("query", "key", "value")]
    return {
        f"{name}.in_proj_weight": np.concatenate(kernels),
        f"{name}.in_proj_bias": np.concatenate(biases),
        f"{name}.out_proj.weight": attention["out"].T,
        f"{name}.out_proj.bias": attention["out_bias"],
    }


def torch_tensors(tree, stack):
    """Return a stack's parameters (or gradients) by the names of torch's TransformerEncoder or -Decoder."""
    layers = jax.tree.map(np.asarray, tree[stack]["layers"])
    tensors = {}
    for n in range(len(layers["mlp"]["wi"])):
        layer = jax.tree.map(lambda x, n=n: x[n], layers)
        mlp = layer["mlp"]
        attentions = {"self_attn": "self_attention", "multihead_attn": "cross_attention"}
        attentions = {theirs: ours for theirs, ours in attentions.items() if ours in layer}
        norms = [layer[f"{ours}_norm"] for ours in [*attentions.values(), "mlp"]]
        one = {
            "linear1.weight": mlp["wi"].T,
            "linear1.bias": mlp["wi_bias"],
            "linear2.weight": mlp["wo"].T,
            "linear2.bias": mlp["wo_bias"],
        }
        for theirs, ours in attentions.items():
            one |= attention_tensors(layer[ours], theirs)
        for number, norm in enumerate(norms, start=1):
            one |= {f"norm{number}.weight": norm["scale"], f"norm{number}.bias": norm["bias"]}
        tensors |= {f"layers.{n}.{name}": array for name, array in one.items()}
    return tensors


def torch_stack(params, stack):
    kind = stack.capitalize()
    layer = getattr(nn, f"Transformer{kind}Layer")(
        CONFIG.embed_dim, CONFIG.num_heads, CONFIG.mlp_dim, dropout=0.0, activation="relu", batch_first=True
    )
    num_layers = getattr(CONFIG, f"num_{stack}_layers")
    options = {"enable_nested_tensor": False} if stack == "encoder" else {}
    peer = getattr(nn, f"Transformer{kind}")(layer, num_layers, **options)
    tensors = torch_tensors(params, stack)
    peer.load_state_dict({name: torch.tensor(array) for name, array in tensors.items()}, strict=True)
    return peer


def run_torch(peers, embedded):
    """Return torch's decoder output for embedded encoder and decoder inputs; True masks a key there."""
    hidden = {stack: torch.tensor(ids == 0) for stack, ids in IDS.items()}
    memory = peers["encoder"](embedded["encoder"], src_key_padding_mask=hidden["encoder"])
    length = IDS["decoder"].shape[1]
    return peers["decoder"](
        embedded["decoder"],
        memory,
        tgt_mask=torch.triu(torch.ones(length, length, dtype=torch.bool), 1),
        tgt_key_padding_mask=hidden["decoder"],
        memory_key_padding_mask=hidden["encoder"],
    )


def test_stacks_and_their_gradients_equal_torch(params):
    """Both stacks in one pass: what the encoder computes shows in the decoder's output and gradients."""
    rng = np.random.default_rng(1)
    inputs = {
        stack: rng.standard_normal((*ids.shape, CONFIG.embed_dim)).astype(np.float32)
        for stack, ids in IDS.items()
    }
    direction = rng.standard_normal((*IDS["decoder"].shape, CONFIG.embed_dim)).astype(np.float32)
    direction *= IDS["decoder"][:, :, None]  # what stands at padding is nobody's business
    model = build(CONFIG)

    @jax.jit
    def run(params, inputs):
        def total(params, inputs):
            bound = model.bind(params)
            # A stack adds the sines to what it is given; torch's layers know no positions.
            encoded = bound.encoder(inputs["encoder"] - sines["encoder"], segment_ids_BL=ids["encoder"])
            decoded = bound.decoder(
                inputs["decoder"] - sines["decoder"],
                segment_ids_BL=ids["decoder"],
                encoded_BMD=encoded,
                encoder_segment_ids_BM=ids["encoder"],
            )
            return jnp.sum(direction * decoded), decoded

        (_, decoded), gradients = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(params, inputs)
        return decoded, gradients

    ids = jax.tree.map(jnp.asarray, IDS)
    sines = {stack: sinusoids_in_float64(ids).astype(np.float32) for stack, ids in IDS.items()}
    decoded, (by_params, by_inputs) = run(params, inputs)
    peers = {stack: torch_stack(params, stack) for stack in IDS}
    leaves = {stack: torch.tensor(x, requires_grad=True) for stack, x in inputs.items()}
    expected = run_torch(peers, leaves)
    expected.backward(torch.tensor(direction))

    real = IDS["decoder"] == 1
    np.testing.assert_allclose(decoded[real], expected.detach().numpy()[real], rtol=0, atol=1e-4)
    for stack, peer in peers.items():
        assert_close_to_largest(by_inputs[stack], leaves[stack].grad, name=stack)
        gradients = torch_tensors(by_params, stack)
        for name, parameter in peer.named_parameters():
            assert_close_to_largest(gradients[name], parameter.grad, name=f"{stack} {name}")


def assert_close_to_largest(got, expected, *, name):
    expected = expected.numpy()
    largest = np.abs(expected).max()
    assert largest > 1e-4, name
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * largest, err_msg=name)


def sinusoids_in_float64(ids):
    """sin(pos / 10000^(2i/D)) in the even columns, the cosine in the odd ones, for each row the same."""
    length, dim = ids.shape[1], CONFIG.embed_dim
    angles = np.arange(length)[:, None] / 1e4 ** (np.arange(0, dim, 2) / dim)
    table = np.zeros((length, dim))
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)
    return np.broadcast_to(table, (len(ids), length, dim)).copy()


def test_the_transformer_of_2017_equals_torch_from_tokens_to_logits(params):
    rng = np.random.default_rng(2)
    tokens = {
        stack: rng.integers(0, CONFIG.vocab_size, ids.shape).astype(np.int32) for stack, ids in IDS.items()
    }
    batch = {f"{stack}_input_tokens": tokens[stack] for stack in IDS}
    batch |= {f"{stack}_segment_ids": ids for stack, ids in IDS.items()}
    model = build(CONFIG)
    logits = jax.jit(lambda params, batch: model.bind(params)(batch))(params, batch)

    table = params["token_embedder"]["embedding"]
    embedded = {
        stack: torch.tensor(
            (table[tokens[stack]] * np.sqrt(CONFIG.embed_dim) + sinusoids_in_float64(ids)).astype(np.float32)
        )
        for stack, ids in IDS.items()
    }
    with torch.no_grad():
        outputs = run_torch({stack: torch_stack(params, stack) for stack in IDS}, embedded)
        expected = (outputs @ torch.tensor(table).T).numpy()
    real = IDS["decoder"] == 1
    assert expected[real].std() > 0.3
    np.testing.assert_allclose(logits[real], expected[real], rtol=0, atol=1e-4)
