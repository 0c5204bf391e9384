"""Seconds per train step of t5lite and of transformers (PyTorch), interleaved in one process, on CPU.

Both train the same T5 1.1 from the same parameters on the same random batch in float32 with AdamW and
without dropout, so their losses must agree; the run stops if they do not. transformers runs as its users
run it: eager PyTorch, its default attention, the fused AdamW. t5lite runs its own training step, with
gradient norm, metrics and the check for non-finite values, with unrolled layers and the XLA flags that its
commands set. Steps alternate, so that both see the same load of the machine.

    python benchmarks/train_step.py --steps 7

Needs the packages of the ``test`` extra. About 6 GB of memory for the small preset.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
import torch
import transformers

from t5lite.cli import xla
from t5lite.interop.huggingface import state_dict_from_params
from t5lite.models.config import EncoderDecoderConfig
from t5lite.models.flops import train_step_flops
from t5lite.models.functional import build
from t5lite.models.presets import preset
from t5lite.optim import AdamWConfig, Constant
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.training.state import state_from_params
from t5lite.training.step import StepConfig, compile_train_step, make_train_step

LEARNING_RATE = 1e-4
StepFn = Callable[[], float]
"""One train step that waits for its result and returns the loss."""


def make_t5lite_step(config: EncoderDecoderConfig, params: Any, batch: dict[str, np.ndarray]) -> StepFn:
    """Return t5lite's train step, compiled at its first call."""
    model = build(config)
    partitioner = make_partitioner(PartitioningConfig())
    optimizer = AdamWConfig().build(Constant(value=LEARNING_RATE).build(1), model.logical_axes)
    # No z-loss, which transformers does not have.
    train_step = make_train_step(model, optimizer, StepConfig(z_loss=0.0), seed=0)
    compiled = compile_train_step(train_step, model, optimizer, partitioner)
    state = state_from_params(params, model, optimizer, partitioner)
    device_batch = jax.device_put(batch, partitioner.batch_sharding)

    def step() -> float:
        nonlocal state
        state, metrics = compiled(state, device_batch)
        jax.block_until_ready(state)
        return float(metrics["loss"].mean())

    return step


def make_transformers_step(
    config: EncoderDecoderConfig, tensors: dict[str, torch.Tensor], batch: dict[str, np.ndarray]
) -> StepFn:
    """Return the same train step by transformers and PyTorch."""
    peer = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=config.vocab_size,
            d_model=config.embed_dim,
            d_kv=config.head_dim,
            d_ff=config.mlp_dim,
            num_heads=config.num_heads,
            num_layers=config.num_encoder_layers,
            num_decoder_layers=config.num_decoder_layers,
            feed_forward_proj=config.mlp_activation.replace("_", "-"),
            dropout_rate=0.0,
            scale_decoder_outputs=config.tie_embeddings,
        )
    )
    # T5Config ties the embeddings whatever it is told; T5 1.1 does not.
    peer.lm_head.weight = torch.nn.Parameter(torch.empty_like(tensors["lm_head.weight"]))
    missing, unexpected = peer.load_state_dict(tensors, strict=False)
    if unexpected or set(missing) - {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}:
        raise SystemExit(f"parameters do not fit transformers: missing {missing}, unexpected {unexpected}")
    peer.train()
    optimizer = torch.optim.AdamW(peer.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    inputs = {
        "input_ids": torch.tensor(batch["encoder_input_tokens"], dtype=torch.long),
        "decoder_input_ids": torch.tensor(batch["decoder_input_tokens"], dtype=torch.long),
        "labels": torch.tensor(batch["decoder_target_tokens"], dtype=torch.long),
    }

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = peer(**inputs, use_cache=False).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def make_batch(
    *, vocab_size: int, batch_size: int, encoder_length: int, decoder_length: int
) -> dict[str, np.ndarray]:
    """Return a full batch of random ids: no padding, one example a row."""
    rng = np.random.default_rng(0)
    targets = rng.integers(2, vocab_size, (batch_size, decoder_length)).astype(np.int32)
    return {
        "encoder_input_tokens": rng.integers(2, vocab_size, (batch_size, encoder_length)).astype(np.int32),
        "decoder_input_tokens": np.pad(targets[:, :-1], ((0, 0), (1, 0))),
        "decoder_target_tokens": targets,
        "decoder_loss_weights": np.ones(targets.shape, np.float32),
    }


def timed(step: StepFn) -> tuple[float, float]:
    """Return the seconds one step took, and its loss."""
    start = time.perf_counter()
    loss = step()
    return time.perf_counter() - start, loss


def main() -> None:
    """Run and print every step, the medians, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each, after one that is not")
    parser.add_argument("--preset", default="t5-1.1-small", help="an untied shape")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--encoder-length", type=int, default=512)
    parser.add_argument("--decoder-length", type=int, default=114)
    parser.add_argument("--scan", action="store_true", help="scan over the layers instead of unrolling them")
    arguments = parser.parse_args()
    xla.configure()
    config = dataclasses.replace(preset(arguments.preset), scan_unroll=1 if arguments.scan else -1)
    if not isinstance(config, EncoderDecoderConfig) or config.tie_embeddings:
        parser.error("--preset must be a T5 1.1 shape")
    shape = {
        "batch_size": arguments.batch_size,
        "encoder_length": arguments.encoder_length,
        "decoder_length": arguments.decoder_length,
    }
    batch = make_batch(vocab_size=config.vocab_size, **shape)
    params = jax.device_get(jax.jit(build(config).init)(jax.random.key(0)))
    tensors = {name: torch.tensor(value) for name, value in state_dict_from_params(params, config).items()}
    steps = {
        "t5lite": make_t5lite_step(config, params, batch),
        "transformers": make_transformers_step(config, tensors, batch),
    }
    del params, tensors
    print(
        f"{arguments.preset}, batch {arguments.batch_size} x {arguments.encoder_length}/"
        f"{arguments.decoder_length}, float32, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} torch threads; jax {jax.__version__}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(arguments.steps + 1):
        results = {name: timed(step) for name, step in steps.items()}
        losses = [loss for _, loss in results.values()]
        print(
            ("warm-up" if number == 0 else f"step {number:2d}")
            + "".join(f"  {name} {took:6.2f} s, loss {loss:.4f}" for name, (took, loss) in results.items()),
            flush=True,
        )
        if abs(losses[0] - losses[1]) > 1e-3 * abs(losses[1]):
            raise SystemExit("the losses differ: these are not the same computation")
        if number:
            for name, (took, _) in results.items():
                seconds[name].append(took)
    if not arguments.steps:
        return
    tokens = arguments.batch_size * (arguments.encoder_length + arguments.decoder_length)
    flops = train_step_flops(config, **shape)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(
            f"{name:>12}: median {median:.2f} s ({min(seconds[name]):.2f} to {max(seconds[name]):.2f}), "
            f"{tokens / median:.0f} tokens/s (encoder + decoder), {flops / median / 1e9:.0f} GFLOP/s"
        )
    print(f"t5lite is {medians['transformers'] / medians['t5lite']:.2f} times as fast as transformers")


if __name__ == "__main__":
    main()
