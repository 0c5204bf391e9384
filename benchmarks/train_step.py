"""Seconds per train step of t5lite and of transformers (PyTorch), in turn, on CPU.

All train the same model from the same parameters on the same random batch in float32 with AdamW and without
dropout, so their losses must agree; the run stops if they do not. transformers runs as its users run it:
default attention and the fused AdamW, eager and through torch.compile. t5lite runs its own training step,
with gradient norm, metrics and the check for non-finite values, with unrolled layers, the XLA flags and the
memory pages that its commands set. Each side has a process of its own, so that they do not share an
allocator or wait for each other's threads; they take turns of a few steps, so that they see the same load.
The first step of a turn is not timed: a virtual machine may have handed memory that a step frees and the
next one takes again back to its host in the meantime, which no training run gives it the time to do.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --preset bert-base --layers 4 --decoder-length 0
    python benchmarks/train_step.py --preset gpt2 --layers 4 --encoder-length 0 --decoder-length 512
    python benchmarks/train_step.py --breakdown

Needs the packages of the ``test`` extra and a C++ compiler (for torch.compile). About 10 GB of memory for T5.
"""

import argparse
import contextlib
import dataclasses
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from t5lite.cpu.malloc import malloc_tunables

LEARNING_RATE = 1e-4
SIDES = ("t5lite", "eager", "compiled")
AUTO_CLASSES = {
    "encoder_decoder": "AutoModelForSeq2SeqLM",
    "encoder_only": "AutoModelForMaskedLM",
    "decoder_only": "AutoModelForCausalLM",
}
StepFn = Callable[[], float]
"""One train step that waits for its result and returns the loss."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What every side trains."""

    folder: str
    """A Hugging Face folder with the initial parameters."""
    batch_size: int
    encoder_length: int
    decoder_length: int

    def batch(self, vocab_size: int) -> dict[str, np.ndarray]:
        """Return a full batch of random ids: no padding, one example a row."""
        rng = np.random.default_rng(0)

        def ids(length: int) -> np.ndarray:
            return rng.integers(2, vocab_size, (self.batch_size, length)).astype(np.int32)

        batch, trained = {}, "decoder" if self.decoder_length else "encoder"
        for stack, length in (("encoder", self.encoder_length), ("decoder", self.decoder_length)):
            if length:
                batch[f"{stack}_input_tokens"] = ids(length)
        batch[f"{trained}_target_tokens"] = ids(batch[f"{trained}_input_tokens"].shape[1])
        batch[f"{trained}_loss_weights"] = np.ones(batch[f"{trained}_target_tokens"].shape, np.float32)
        return batch


def t5lite_step(work: Work) -> tuple[StepFn, str]:
    """Return t5lite's train step, compiled, and the compiled program's text."""
    from t5lite.cli import xla

    xla.configure()
    import jax

    from t5lite.interop.huggingface import import_folder
    from t5lite.models.config import Execution
    from t5lite.models.functional import build
    from t5lite.optim import AdamWConfig, Constant
    from t5lite.partitioning import PartitioningConfig, make_partitioner
    from t5lite.training.config import StepConfig
    from t5lite.training.state import state_from_params
    from t5lite.training.step import compile_train_step, make_train_step

    config, params = import_folder(Path(work.folder))
    model = build(dataclasses.replace(config, dropout_rate=0.0), Execution(scan_unroll=-1))
    partitioner = make_partitioner(PartitioningConfig())
    optimizer = AdamWConfig().build(Constant(value=LEARNING_RATE).build(1), model.logical_axes)
    # No z-loss, which transformers does not have.
    train_step = make_train_step(model, optimizer, StepConfig(z_loss=0.0), seed=0)
    state = state_from_params(params, model, optimizer, partitioner)
    batch = jax.device_put(work.batch(config.vocab_size), partitioner.batch_sharding)
    compiled = compile_train_step(train_step, model, optimizer, partitioner).lower(state, batch).compile()

    def step() -> float:
        nonlocal state
        state, metrics = compiled(state, batch)
        jax.block_until_ready(state)
        return float(metrics["loss"].mean())

    return step, compiled.as_text()


def peer_and_batch(
    work: Work, architecture: str, *, device: str = "cpu", **options: Any
) -> tuple[Any, dict[str, Any], Any]:
    """Return transformers' model in training, what it is called with, and its targets.

    Args:
      work: what is trained.
      architecture: which class has it.
      device: where all three lie.
      **options: of ``from_pretrained``.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    auto_class = getattr(transformers, AUTO_CLASSES[architecture])
    peer: Any = auto_class.from_pretrained(work.folder, **options).to(device)
    for module in peer.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    peer.train()
    batch = work.batch(peer.config.vocab_size)

    def ids(field: str) -> Any:
        return torch.tensor(batch[field], dtype=torch.long, device=device)

    inputs: dict[str, Any] = {
        {"encoder_input_tokens": "input_ids", "decoder_input_tokens": "decoder_input_ids"}[name]: ids(name)
        for name in batch
        if name.endswith("input_tokens")
    }
    if architecture == "decoder_only":
        inputs = {"input_ids": inputs["decoder_input_ids"]}
    if architecture != "encoder_only":
        inputs["use_cache"] = False
    return peer, inputs, ids(next(name for name in batch if name.endswith("target_tokens"))).flatten()


def transformers_step(work: Work, architecture: str, *, compiled: bool) -> StepFn:
    """Return the same train step by transformers and PyTorch."""
    import torch

    peer, inputs, targets = peer_and_batch(work, architecture)
    optimizer = torch.optim.AdamW(peer.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    forward = torch.compile(peer) if compiled else peer

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        logits = forward(**inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def serve(side: str, work: Work, architecture: str, connection: Connection) -> None:
    """Make one side's step, then answer each "step" with (seconds, loss) until the parent is gone."""
    hlo = ""
    if side == "t5lite":
        step, hlo = t5lite_step(work)
    else:
        step = transformers_step(work, architecture, compiled=side == "compiled")
    with contextlib.suppress(EOFError):
        while order := connection.recv():
            if order == "breakdown":
                from benchmarks.thunk_times import thunk_times

                connection.send(thunk_times(step, hlo))
                continue
            start = time.perf_counter()
            loss = step()
            connection.send((time.perf_counter() - start, loss))


def start(side: str, *arguments: Any, target: Callable[..., None] = serve) -> Connection:
    """Start one side's process, which calls ``target``, and return the connection to it."""
    ours, theirs = multiprocessing.Pipe()
    # What t5lite's commands set for themselves when they start (cpu/malloc.py).
    if side == "t5lite":
        os.environ["GLIBC_TUNABLES"] = malloc_tunables()
    else:
        os.environ.pop("GLIBC_TUNABLES", None)
    context = multiprocessing.get_context("spawn")
    context.Process(target=target, args=(side, *arguments, theirs), daemon=True).start()
    theirs.close()
    return ours


def write_model(preset_name: str, num_layers: int | None, folder: str, **changes: Any) -> Any:
    """Write freshly initialised parameters of a preset as a Hugging Face folder; return the configuration.

    Args:
      preset_name: of ``t5lite models``.
      num_layers: of each stack, instead of the preset's.
      folder: written.
      **changes: further fields of the configuration.
    """
    import jax

    from t5lite.interop.huggingface import export_folder
    from t5lite.models.functional import build
    from t5lite.models.presets import preset

    config: Any = preset(preset_name)
    if config.architecture == "encoder_only":
        config = dataclasses.replace(config, head="masked_lm")  # no next sentence
    depths = [
        name for name in ("num_layers", "num_encoder_layers", "num_decoder_layers") if hasattr(config, name)
    ]
    if num_layers is not None:
        config = dataclasses.replace(config, **dict.fromkeys(depths, num_layers))
    config = dataclasses.replace(config, **changes)
    export_folder(jax.device_get(jax.jit(build(config).init)(jax.random.key(0))), config, folder)
    return config


def take_turn(connection: Connection, num_steps: int) -> list[tuple[float, float]]:
    """Return seconds and loss of each of some steps of one side."""
    steps = []
    for _ in range(num_steps):
        connection.send("step")
        steps.append(connection.recv())
    return steps


def check_losses(losses: list[list[float]]) -> None:
    """Stop if the sides' losses differ at any step."""
    for values in zip(*losses, strict=True):
        if max(values) - min(values) > 1e-3 * abs(values[0]):
            raise SystemExit(f"the losses differ, {values}: these are not the same computation")


def report(seconds: Mapping[str, list[float]], flops: float, num_tokens: int, peak: float) -> None:
    """Print the medians and their ratios."""
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    print(f"matrix products alone would take {flops / peak:.2f} s at the {peak / 1e9:.0f} GFLOP/s measured")
    for side, median in medians.items():
        print(
            f"{side:>9}: median {median:.2f} s ({min(seconds[side]):.2f} to {max(seconds[side]):.2f}), "
            f"{num_tokens / median:.0f} tokens/s, {flops / median / 1e9:.0f} GFLOP/s"
        )
    for side in medians.keys() - {"t5lite"}:
        print(f"t5lite is {medians[side] / medians['t5lite']:.2f} times as fast as transformers, {side}")


def main() -> None:
    """Run and print every turn, the medians, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--steps-a-turn", type=int, default=3, help="the first of each turn is not timed")
    parser.add_argument("--preset", default="t5-1.1-small")
    parser.add_argument("--layers", type=int, help="of each stack, instead of the preset's")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--encoder-length", type=int, default=512, help="0 for a decoder-only model")
    parser.add_argument("--decoder-length", type=int, default=114, help="0 for an encoder-only model")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--breakdown", action="store_true", help="print where t5lite's time goes")
    arguments = parser.parse_args()
    from t5lite.models.flops import train_step_flops
    from t5lite.training.hardware import device_peak

    shape = {name: getattr(arguments, name) for name in ("batch_size", "encoder_length", "decoder_length")}
    with tempfile.TemporaryDirectory() as directory:
        work = Work(folder=f"{directory}/model", **shape)
        config = write_model(arguments.preset, arguments.layers, work.folder)
        peak = device_peak("cpu", "")
        assert peak is not None
        sides = {side: start(side, work, config.architecture) for side in arguments.sides}
        print(f"{arguments.preset}, {arguments.layers or 'all'} layers, {shape}, {os.cpu_count()} cores")
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(1, arguments.turns + 1):
            results = {
                side: take_turn(connection, arguments.steps_a_turn) for side, connection in sides.items()
            }
            for side, steps in results.items():
                seconds[side] += [took for took, _ in steps[1:]]
                print(
                    f"turn {number} {side:>9}: {', '.join(f'{took:.2f}' for took, _ in steps)} s, "
                    f"loss {steps[-1][1]:.4f}",
                    flush=True,
                )
            check_losses([[loss for _, loss in steps] for steps in results.values()])
        if arguments.breakdown:
            sides["t5lite"].send("breakdown")
            for kind, share in sides["t5lite"].recv().items():
                print(f"{share:6.1%}  {kind}")
    if arguments.steps_a_turn > 1:
        num_tokens = arguments.batch_size * (arguments.encoder_length + arguments.decoder_length)
        report(seconds, train_step_flops(config, **shape), num_tokens, peak.flops_per_second)


if __name__ == "__main__":
    main()
