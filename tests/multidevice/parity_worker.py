"""Trains one tiny model for five steps on one device and on every mesh; prints the losses as JSON.

A process of its own, because the number of CPU devices is fixed when JAX starts:
``XLA_FLAGS=--xla_force_host_platform_device_count=8 python parity_worker.py``.
"""

import json
import sys

import jax
import numpy as np

from t5lite.adapters import LoRA, NoAdapter
from t5lite.models.config import EncoderDecoderConfig, Execution
from t5lite.models.functional import build
from t5lite.models.layers import gathered_kernels
from t5lite.optim import AdafactorConfig, Constant
from t5lite.optim.averaging import with_average
from t5lite.optim.trained import parameter_paths, resolve_trained
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.training.config import StepConfig
from t5lite.training.state import init_state
from t5lite.training.step import compile_train_step, make_train_step

DECAY = 0.7
NUM_STEPS, BATCH_SIZE, ENCODER_LENGTH, DECODER_LENGTH = 5, 16, 12, 7  # 7: an odd length on 2 and 4 devices

MESHES = {
    "data 8": PartitioningConfig(fsdp=8, style="data_parallel"),
    "fsdp 8": PartitioningConfig(fsdp=8, style="fsdp"),
    "tensor 8": PartitioningConfig(fsdp=1, tensor=8, style="tensor_parallel"),
    "replica 2 x fsdp 2 x tensor 2": PartitioningConfig(replica=2, fsdp=2, tensor=2, style="tensor_parallel"),
    # Residuals sharded by length over sequence and tensor, queries by length over sequence.
    "fsdp 2 x sequence 2 x tensor 2": PartitioningConfig(
        fsdp=2, sequence=2, tensor=2, style="sequence_parallel"
    ),
}
IN_CHUNKS = ("tensor 8", "fsdp 2 x sequence 2 x tensor 2")

NO_ADAPTER, ADAPTER = NoAdapter(), LoRA(rank=3, dropout=0.1, targets=("*",))
FROZEN = ("!encoder", "!token_embedder", "!decoder/layers/mlp")


def batches(vocab_size):
    """Packed rows with padding, so that masks and unequal weights are at work."""
    rng = np.random.default_rng(0)
    for _ in range(NUM_STEPS):
        encoder = rng.integers(2, vocab_size, (BATCH_SIZE, ENCODER_LENGTH), np.int32)
        decoder = rng.integers(2, vocab_size, (BATCH_SIZE, DECODER_LENGTH), np.int32)
        lengths = rng.integers(3, ENCODER_LENGTH + 1, (BATCH_SIZE, 1))
        encoder_segments = np.where(np.arange(ENCODER_LENGTH)[None] < lengths // 2, 1, 2)
        encoder_segments[np.arange(ENCODER_LENGTH)[None] >= lengths] = 0
        decoder_segments = np.where(np.arange(DECODER_LENGTH)[None] < 3, 1, 2) * np.ones((BATCH_SIZE, 1), int)
        decoder_segments[::3, -2:] = 0
        yield {
            "encoder_input_tokens": encoder * (encoder_segments > 0).astype(np.int32),
            "decoder_input_tokens": np.roll(decoder, 1, axis=1),
            "decoder_target_tokens": decoder * (decoder_segments > 0).astype(np.int32),
            "decoder_loss_weights": (decoder_segments > 0).astype(np.float32),
            "encoder_segment_ids": encoder_segments.astype(np.int32),
            "decoder_segment_ids": decoder_segments.astype(np.int32),
        }


def train(partitioner, *, trainable=None, vocab_chunks=None, remat="none", adapter=NO_ADAPTER):
    """Return the metrics of every step, the size of one device's share, and how far what is frozen moved.

    Where something is frozen, a moving average of the rest is kept, which changes none of these.
    """
    config = EncoderDecoderConfig(
        vocab_size=59,  # over no mesh axis
        embed_dim=32,
        mlp_dim=60,  # not over 8 devices
        head_dim=4,
        num_heads=8,
        num_encoder_layers=2,
        num_decoder_layers=2,
        tie_embeddings=False,
        dropout_rate=0.1,
    )
    model = adapter.adapt(build(config, Execution(remat=remat)))
    schedule = Constant(value=0.02).build(NUM_STEPS)
    trained = resolve_trained(adapter.trained(trainable), (), model.abstract_params)
    optimizer = trained.optimizer(
        lambda axes, factors: AdafactorConfig(min_dim_size_to_factor=16).build(schedule, axes, factors),
        model.logical_axes,
    )
    if trained.frozen:
        optimizer = with_average(optimizer, DECAY, optimizer.trained(model.logical_axes))
    partitioner.check(BATCH_SIZE, model.config.head_counts)
    state = init_state(model, optimizer, jax.random.key(0), partitioner)
    before = jax.device_get(state.params)
    config_of_step = StepConfig(num_microbatches=2, vocab_chunks=vocab_chunks)
    step = make_train_step(model, optimizer, config_of_step, seed=1)
    step = compile_train_step(step, model, optimizer, partitioner)
    losses, grad_norms, param_norms, made = [], [], [], []
    for batch in batches(config.vocab_size):
        batch = jax.device_put(batch, partitioner.batch_sharding)
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"].mean()))
        grad_norms.append(float(metrics["grad_norm"]))
        param_norms.append(float(metrics["param_norm"]))
        made.append(jax.device_get(optimizer.trained(state.params)) if trained.frozen else None)
    shards = [leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state.params)]
    moved = jax.tree.map(lambda a, b: float(abs(np.asarray(a) - b).max()), state.params, before)
    moved = dict(zip(parameter_paths(moved), jax.tree.leaves(moved), strict=True))
    return {
        "average": averaged(state, optimizer.trained(state.params), made) if trained.frozen else {},
        "frozen": {path: moved[path] for path in trained.frozen},
        "losses": losses,
        "grad_norms": grad_norms,
        "param_norms": param_norms,
        "parameter_bytes_per_device": sum(shards),
    }


def averaged(state, params, made):
    """Return how the moving average compares with what the updates made, by the paths of parameters."""
    weights = [DECAY ** (NUM_STEPS - update) for update in range(1, NUM_STEPS + 1)]
    want = jax.tree.map(lambda *values: np.average(np.float64(values), axis=0, weights=weights), *made)
    found = state.opt_state.average
    paths = parameter_paths(found)
    off = jax.tree.map(lambda a, b: float(abs(np.asarray(a) - b).max()), found, want)
    alike = jax.tree.map(lambda a, b: a.sharding.is_equivalent_to(b.sharding, b.ndim), found, params)
    return {
        path: {"off": off, "is_sharded_alike": alike}
        for path, off, alike in zip(paths, jax.tree.leaves(off), jax.tree.leaves(alike), strict=True)
    }


def main():
    jax.config.update("jax_numpy_rank_promotion", "raise")
    assert jax.device_count() == 8, jax.devices()
    one_device = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    results = {"one device": train(one_device)}
    for name, config in MESHES.items():
        results[name] = train(make_partitioner(config), vocab_chunks=3 if name in IN_CHUNKS else None)
    mesh = make_partitioner(MESHES["replica 2 x fsdp 2 x tensor 2"])
    results["partly frozen, on a mesh"] = train(mesh, trainable=FROZEN)
    results["partly frozen, one device"] = train(one_device, trainable=FROZEN)
    mesh = make_partitioner(MESHES["fsdp 2 x sequence 2 x tensor 2"])
    results["an adapter, one device"] = train(one_device, adapter=ADAPTER)
    results["an adapter, gathered once"] = train(mesh, adapter=ADAPTER, remat="gathered")
    results["partly frozen, gathered once"] = train(mesh, trainable=FROZEN, remat="gathered")
    gathered_kernels.target_platform = lambda: "tpu"  # where small kernels are gathered as one
    results["fsdp 8, gathered once"] = train(make_partitioner(MESHES["fsdp 8"]), remat="gathered")
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
