"""Trains a tiny encoder to make vectors of texts on one device and on eight; prints the losses as JSON."""

import json
import sys

import jax
import numpy as np

from t5lite.models.config import EncoderOnlyConfig, SentenceEmbedding
from t5lite.models.functional import build
from t5lite.optim import AdamWConfig, Constant
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.training.config import StepConfig
from t5lite.training.state import init_state
from t5lite.training.step import compile_train_step, make_train_step

ROWS, LENGTH, NUM_STEPS = 16, 12, 4


def batch():
    rng = np.random.default_rng(0)
    anchors_B, positives_B, negatives_B = np.arange(3 * ROWS, dtype=np.int32).reshape(3, ROWS)
    positives_B[5], positives_B[-1] = positives_B[4], -1  # a text of two pairs, and a row without any
    negatives_B[6], negatives_B[7] = positives_B[8], -1  # what is right of another, and a row without one
    return {
        "encoder_input_tokens": rng.integers(2, 64, (ROWS, LENGTH)).astype(np.int32),
        "encoder_segment_ids": np.repeat(np.array([[1, 2, 3]], np.int32), 4, axis=1).repeat(ROWS, axis=0),
        "text_numbers": np.stack([anchors_B, positives_B], axis=1),
        "negative_numbers": negatives_B,
    }


def train(partitioner):
    config = EncoderOnlyConfig(
        **{"vocab_size": 64, "embed_dim": 16, "mlp_dim": 16, "head_dim": 4, "num_heads": 2, "num_layers": 1},
        head="sentence_embedding",
        embedding=SentenceEmbedding(symmetric=True),
    )
    model = build(config)
    optimizer = AdamWConfig().build(Constant(value=0.01).build(NUM_STEPS), model.logical_axes)
    state = init_state(model, optimizer, jax.random.key(0), partitioner)
    step = make_train_step(model, optimizer, StepConfig(), seed=1)
    step = compile_train_step(step, model, optimizer, partitioner)
    given = jax.device_put(batch(), partitioner.batch_sharding)
    found = []
    for _ in range(NUM_STEPS):
        state, metrics = step(state, given)
        found.append([float(metrics["loss"].mean()), float(metrics["grad_norm"])])
    return found


def main():
    assert jax.device_count() == 8, jax.devices()
    alone = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    mesh = make_partitioner(PartitioningConfig(replica=2, fsdp=4))
    json.dump({"alone": train(alone), "mesh": train(mesh)}, sys.stdout)


if __name__ == "__main__":
    main()
