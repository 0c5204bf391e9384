"""The same weights and batches through t5lite's train step with AdamW and through torch's."""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.parity_cases import VOCAB_SIZE, Case, make_batch, make_peer, run_peer
from t5lite.interop.huggingface import import_folder
from t5lite.models.functional import build
from t5lite.optim import AdamWConfig, Constant
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.training.config import StepConfig
from t5lite.training.state import state_from_params
from t5lite.training.step import compile_train_step, make_train_step

TRAINED = (
    "T5 1.1",
    "T5Gemma (unequal pair)",
    "BertForMaskedLM",
    "GPT-2",
    "Mistral (window of 4)",
    "Qwen 3",
    "ModernBertForMaskedLM",
)
"""Cases that are trained: one of each architecture, and of layers that none of these have."""
NUM_STEPS, LEARNING_RATE = 20, 2e-3
OPTIMIZER = AdamWConfig(b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.1)


def compare_training(case: Case) -> float:
    """Return the largest relative difference of a loss in the first 20 steps."""
    ours, theirs = losses_of_both(case)
    return float(np.max(np.abs(ours - theirs) / theirs))


def losses_of_both(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of every step here and in torch: mean cross-entropy over the batch's target tokens."""
    peer = make_peer(case)
    with tempfile.TemporaryDirectory() as folder:
        peer.save_pretrained(folder)
        config, params = import_folder(Path(folder))
    model = build(dataclasses.replace(config, dropout_rate=0.0))  # as the peer, in evaluation mode
    partitioner = make_partitioner(PartitioningConfig())
    optimizer = OPTIMIZER.build(Constant(value=LEARNING_RATE).build(NUM_STEPS), model.logical_axes)
    step = make_train_step(model, optimizer, StepConfig(z_loss=0.0), seed=0)
    compiled = compile_train_step(step, model, optimizer, partitioner)
    state = state_from_params(params, model, optimizer, partitioner)
    torch_optimizer = _torch_adamw(peer)
    ours, theirs = [], []
    for batch in _batches(case.architecture):
        state, metrics = compiled(state, jax.device_put(batch, partitioner.batch_sharding))
        ours.append(float(metrics["loss"].total / metrics["loss"].weight))
        theirs.append(_torch_step(peer, torch_optimizer, batch))
    return np.array(ours), np.array(theirs)


def _batches(architecture: str) -> list[Mapping[str, np.ndarray]]:
    """Return batches of one text to learn, with other padding and targets in each."""
    stack = "encoder" if architecture == "encoder_only" else "decoder"
    batches = []
    for seed in range(NUM_STEPS):
        rng = np.random.default_rng(seed)
        batch = make_batch(architecture)
        ids = batch[f"{stack}_segment_ids"]
        keep = np.arange(ids.shape[1])[None, :] < rng.integers(3, ids.shape[1] + 1, len(ids))[:, None]
        batch[f"{stack}_segment_ids"] = keep.astype(np.int32)
        # Targets follow from inputs, so that there is something to learn.
        batch[f"{stack}_target_tokens"] = (batch[f"{stack}_input_tokens"] * 7 + 3) % VOCAB_SIZE
        chosen = keep & (rng.random(ids.shape) < 0.7)
        batch[f"{stack}_loss_weights"] = chosen.astype(np.float32)
        batches.append(batch)
    return batches


def _torch_adamw(peer: Any) -> torch.optim.Optimizer:
    """Decay what t5lite decays: matrices, but no relative position table."""

    def is_decayed(name: str, parameter: torch.Tensor) -> bool:
        return parameter.ndim > 1 and "relative_attention_bias" not in name

    named = list(peer.named_parameters())
    groups = [
        {"params": [p for name, p in named if is_decayed(name, p)], "weight_decay": OPTIMIZER.weight_decay},
        {"params": [p for name, p in named if not is_decayed(name, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(OPTIMIZER.b1, OPTIMIZER.b2), eps=OPTIMIZER.eps)


def _torch_step(peer: Any, optimizer: torch.optim.Optimizer, batch: Mapping[str, np.ndarray]) -> float:
    stack = "encoder" if "encoder_target_tokens" in batch else "decoder"
    trained_on = (f"{stack}_target_tokens", f"{stack}_loss_weights")
    inputs = {name: array for name, array in batch.items() if name not in trained_on}
    counted = torch.from_numpy(batch[trained_on[1]] == 1)
    targets = torch.from_numpy(batch[trained_on[0]]).long()
    loss = torch.nn.functional.cross_entropy(run_peer(peer, inputs)["tokens"][counted], targets[counted])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
