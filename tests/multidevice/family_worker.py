"""Trains a tiny model of each family for twenty steps on one device and on a mesh; prints the losses as JSON.

A process of its own, as parity_worker.py. The steps see the same batch, so that there is something to learn.
Families that are the same model at this size are trained once. Nearly all the time is compilation.
"""

import json
import sys
from dataclasses import replace

import jax

from t5lite.models.functional import build
from t5lite.optim import AdafactorConfig, AdamWConfig, Constant, MuonConfig
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.training.config import StepConfig
from t5lite.training.state import init_state
from t5lite.training.step import compile_train_step, make_train_step
from tests.families import FAMILIES, TRAINED_AS, make_batch

NUM_STEPS = 20
OPTIMIZERS = {
    "encoder_decoder": (AdafactorConfig(min_dim_size_to_factor=8), 0.02),
    "encoder_only": (AdamWConfig(weight_decay=0.01), 0.01),
    "decoder_only": (AdamWConfig(weight_decay=0.01), 0.01),
    # Adafactor's steps are as small as the parameters, and these begin at 0.02 and 0.
    "t5gemma": (AdamWConfig(weight_decay=0.01), 0.01),
    "t5gemma2": (AdamWConfig(weight_decay=0.01), 0.01),
}
MUON = ("llama3", "gpt2")
ODD_ROWS = ("bert", "gpt2")
"""Families whose vocabularies divide over no mesh, 30,522 and 50,257; here, one row more than the others."""


def train(name, config, partitioner):
    """Return the main loss of every step, and the norm of the parameters at the end."""
    if name in ODD_ROWS:
        config = replace(config, vocab_size=config.vocab_size + 1)
    model = build(config)
    optimizer, rate = OPTIMIZERS.get(name, OPTIMIZERS[config.architecture])
    if name in MUON:
        optimizer = MuonConfig()
    optimizer = optimizer.build(Constant(value=rate).build(NUM_STEPS), model.logical_axes)
    batch = make_batch(config)
    partitioner.check(8, model.config.head_counts)
    state = init_state(model, optimizer, jax.random.key(0), partitioner)
    step = make_train_step(model, optimizer, StepConfig(num_microbatches=2), seed=1)
    step = compile_train_step(step, model, optimizer, partitioner)
    batch = jax.device_put(batch, partitioner.batch_sharding)
    losses = []
    for _ in range(NUM_STEPS):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"].mean()))
    return {"losses": losses, "param_norm": float(metrics["param_norm"])}


def main():
    jax.config.update("jax_numpy_rank_promotion", "raise")
    assert jax.device_count() == 8, jax.devices()
    alone = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    mesh = make_partitioner(PartitioningConfig(replica=2, fsdp=2, tensor=2, style="tensor_parallel"))
    results = {
        name: {
            "alone": train(name, FAMILIES[name], alone),
            "mesh": train(name, FAMILIES[name], mesh),
        }
        for name in sorted(set(TRAINED_AS.values()))
    }
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
