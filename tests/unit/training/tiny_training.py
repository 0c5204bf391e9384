"""One tiny model, its optimizer and batches, shared by the tests of the training step and the loop."""

import itertools
from types import SimpleNamespace

import jax
import numpy as np

from t5lite.models import functional
from t5lite.models.config import EncoderDecoderConfig
from t5lite.optim import AdafactorConfig, AdamWConfig, Constant
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.training.config import StepConfig
from t5lite.training.state import init_state, state_shardings
from t5lite.training.step import compile_train_step, make_train_step

VOCAB_SIZE = 40
SHAPE = {"batch_size": 4, "encoder_length": 7, "decoder_length": 5}


def model_config(**changes) -> EncoderDecoderConfig:
    fields = {
        "vocab_size": VOCAB_SIZE,
        "embed_dim": 8,
        "mlp_dim": 16,
        "head_dim": 4,
        "num_heads": 2,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
    }
    return EncoderDecoderConfig(**(fields | changes))


def make_batch(step: int, *, batch_size: int = SHAPE["batch_size"]) -> dict[str, np.ndarray]:
    """A batch that depends on ``step`` only, with unequal weights per row."""
    random = np.random.default_rng(step)
    lengths = random.integers(1, SHAPE["decoder_length"] + 1, batch_size)
    targets = random.integers(1, VOCAB_SIZE, (batch_size, SHAPE["decoder_length"])).astype(np.int32)
    present = np.arange(SHAPE["decoder_length"])[None, :] < lengths[:, None]
    targets = np.where(present, targets, 0).astype(np.int32)
    return {
        "encoder_input_tokens": random.integers(1, VOCAB_SIZE, (batch_size, SHAPE["encoder_length"])).astype(
            np.int32
        ),
        "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        "decoder_target_tokens": targets,
        "decoder_loss_weights": present.astype(np.float32),
    }


def batches_from(step: int, partitioner):
    for index in itertools.count(step):
        yield jax.device_put(make_batch(index), partitioner.batch_sharding)


def build(*, dropout_rate=0.1, optimizer="adafactor", **step_config):
    model = functional.build(model_config(dropout_rate=dropout_rate))
    config = {"adafactor": AdafactorConfig(), "adamw": AdamWConfig()}[optimizer]
    optimizer = config.build(Constant(value=1e-2).build(1000), model.logical_axes)
    partitioner = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    step = make_train_step(model, optimizer, StepConfig(**step_config), seed=3)
    start = jax.device_get(init_state(model, optimizer, jax.random.key(0), partitioner))
    return SimpleNamespace(
        model=model,
        optimizer=optimizer,
        partitioner=partitioner,
        start=start,
        compiled=compile_train_step(step, model, optimizer, partitioner),
    )


def fresh(parts):
    """A state at step 0 that may be donated."""
    return jax.device_put(parts.start, state_shardings(parts.model, parts.optimizer, parts.partitioner))
