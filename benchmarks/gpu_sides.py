"""The sides of ``gpu_step.py``: each builds its program in a process of its own, then takes turns.

A turn is several runs of the program that are asked for at once and waited for once, as in training, where
nothing waits for a single step.
"""

import contextlib
import dataclasses
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.train_step import LEARNING_RATE, Work, peer_and_batch

WARM_UP_RUNS = 3
TURN_SECONDS = 1.0
MOST_RUNS_A_TURN = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One way of computing a case."""

    name: str
    package: str
    """What computes: jax or torch."""
    attention: str
    """t5lite's ``execution.attention``, transformers' ``attn_implementation``."""
    compiled: bool = False
    """PyTorch alone: whether ``torch.compile`` is asked for, of decoding a static cache that compiles."""


class Built(NamedTuple):
    """What a side says when it is ready."""

    seconds: float
    """From the start of its process, imports, compilation and warm-up included."""
    result: float
    """Loss of the last warm-up step, or tokens written a row."""
    runs_a_turn: int


class Turn(NamedTuple):
    """What a side says after a turn."""

    seconds_a_run: float
    peak_bytes: int | None
    """Most memory of the device in use by arrays so far; None where the platform does not count it."""


class Program(NamedTuple):
    """A built side."""

    run: Callable[[int], float]
    """Runs the program some times, waits, and returns the last result."""
    peak_bytes: Callable[[], int | None]


def serve(side: Side, work: Work, architecture: str, new_tokens: int, connection: Connection) -> None:
    """Build a side, say so, then take a turn for each order until the parent is gone.

    Args:
      side: what is built.
      work: the model and the batch.
      architecture: of the model.
      new_tokens: to write after each row of the batch; 0 trains.
      connection: takes any true value as an order; answers ``Built``, then a ``Turn`` an order. A fault is
        answered as its text, and the process ends.
    """
    start = time.perf_counter()
    try:
        makers = {
            ("jax", False): _jax_training,
            ("jax", True): _jax_decoding,
            ("torch", False): _torch_training,
            ("torch", True): _torch_decoding,
        }
        program = makers[side.package, bool(new_tokens)](side, work, architecture, new_tokens)
        result = program.run(WARM_UP_RUNS)
        once = time.perf_counter()
        program.run(1)
        runs = int(TURN_SECONDS / (time.perf_counter() - once))
        runs = max(1, min(MOST_RUNS_A_TURN, runs))
        connection.send(Built(time.perf_counter() - start, result, runs))
        while connection.recv():
            began = time.perf_counter()
            program.run(runs)
            connection.send(Turn((time.perf_counter() - began) / runs, program.peak_bytes()))
    except EOFError:
        pass
    except Exception as error:  # whatever it is, it is this side's result
        lines = str(error).strip().splitlines() or [""]
        connection.send(f"{type(error).__name__}: {lines[0][:160]}")
        raise


def _jax_model(side: Side, work: Work, param_dtype: Any) -> tuple[Any, Any]:
    """Return t5lite's model in bfloat16 and its parameters."""
    from t5lite.cli import xla

    xla.configure()
    from t5lite.interop.huggingface import import_folder
    from t5lite.models.config import Execution
    from t5lite.models.functional import build

    config, params = import_folder(Path(work.folder))
    execution = Execution(compute_dtype="bfloat16", param_dtype=param_dtype, attention=side.attention)
    return build(config, execution), params


@contextlib.contextmanager
def _alone(work: Work) -> Iterator[None]:
    """Keep other sides from compiling at once: XLA times kernels on the device to choose among them.

    A lock that the system takes back from a process that is ended.
    """
    with Path(work.folder, "compiling").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _jax_peak_bytes() -> int | None:
    import jax

    statistics = jax.local_devices()[0].memory_stats()
    return None if statistics is None else statistics["peak_bytes_in_use"]


def _jax_training(side: Side, work: Work, architecture: str, new_tokens: int) -> Program:
    """Return t5lite's own step: gradient norm, metrics and the check for non-finite values included."""
    del architecture, new_tokens
    model, params = _jax_model(side, work, "float32")
    import jax

    from t5lite.optim import AdamWConfig, Constant
    from t5lite.partitioning import PartitioningConfig, make_partitioner
    from t5lite.training.config import StepConfig
    from t5lite.training.state import state_from_params
    from t5lite.training.step import compile_train_step, make_train_step

    partitioner = make_partitioner(PartitioningConfig())
    optimizer = AdamWConfig().build(Constant(value=LEARNING_RATE).build(1), model.logical_axes)
    # No z-loss, which transformers does not have.
    train_step = make_train_step(model, optimizer, StepConfig(z_loss=0.0), seed=0)
    state = state_from_params(params, model, optimizer, partitioner)
    batch = jax.device_put(work.batch(model.config.vocab_size), partitioner.batch_sharding)
    lowered = compile_train_step(train_step, model, optimizer, partitioner).lower(state, batch)
    with _alone(work):
        step = lowered.compile()

    def run(times: int) -> float:
        nonlocal state
        metrics: Any = None
        for _ in range(times):
            state, metrics = step(state, batch)
        jax.block_until_ready(state)
        return float(metrics["loss"].mean())

    return Program(run, _jax_peak_bytes)


def _jax_decoding(side: Side, work: Work, architecture: str, new_tokens: int) -> Program:
    """Return greedy search with parameters in bfloat16; no row ends early."""
    del architecture
    model, params = _jax_model(side, work, "bfloat16")
    import jax

    from t5lite.decoding.greedy import greedy
    from t5lite.partitioning import PartitioningConfig, make_partitioner

    partitioner = make_partitioner(PartitioningConfig())
    params = jax.device_put(jax.tree.map(lambda each: np.asarray(each).astype("bfloat16"), params))
    tokens = jax.device_put(work.batch(model.config.vocab_size)["encoder_input_tokens"])

    def write(params: Any, tokens: jax.Array) -> jax.Array:
        with partitioner.activate():
            return greedy(model.bind(params), tokens, max_decode_length=new_tokens, eos_id=None)

    lowered = jax.jit(write).lower(params, tokens)
    with _alone(work):
        search = lowered.compile()

    def run(times: int) -> float:
        written = [search(params, tokens) for _ in range(times)]
        return float(jax.block_until_ready(written)[-1].shape[1])

    return Program(run, _jax_peak_bytes)


def _torch_device() -> str:
    return "cpu" if os.environ["JAX_PLATFORMS"] == "cpu" else "cuda"


def _torch_wait() -> None:
    import torch

    if _torch_device() != "cpu":
        torch.cuda.synchronize()


def _torch_peak_bytes() -> int | None:
    import torch

    return None if _torch_device() == "cpu" else torch.cuda.max_memory_allocated()


def _torch_training(side: Side, work: Work, architecture: str, new_tokens: int) -> Program:
    """Return transformers' step: autocast to bfloat16, parameters in float32, the fused AdamW."""
    del new_tokens
    import torch

    device = _torch_device()
    peer, inputs, targets = peer_and_batch(
        work, architecture, device=device, attn_implementation=side.attention
    )
    optimizer = torch.optim.AdamW(peer.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    forward = torch.compile(peer) if side.compiled else peer

    def run(times: int) -> float:
        loss = targets  # of no step yet
        for _ in range(times):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, dtype=torch.bfloat16):
                logits = forward(**inputs).logits
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets)
            loss.backward()
            optimizer.step()
        _torch_wait()
        return float(loss.item())

    return Program(run, _torch_peak_bytes)


def _torch_decoding(side: Side, work: Work, architecture: str, new_tokens: int) -> Program:
    """Return transformers' greedy ``generate`` with parameters in bfloat16; no row ends early."""
    import torch

    device = _torch_device()
    peer, inputs, _ = peer_and_batch(
        work, architecture, device=device, attn_implementation=side.attention, dtype=torch.bfloat16
    )
    peer.eval()
    options: dict[str, Any] = {"cache_implementation": "static"} if side.compiled else {}
    ids = inputs["input_ids"]

    def run(times: int) -> float:
        written = ids
        for _ in range(times):
            with torch.inference_mode():
                written = peer.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=new_tokens,
                    min_new_tokens=new_tokens,
                    do_sample=False,
                    num_beams=1,
                    **options,
                )
        _torch_wait()
        return float(written.shape[1] - 1)  # the first is the decoder's start

    return Program(run, _torch_peak_bytes)
