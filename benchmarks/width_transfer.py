"""Does a learning rate that was found on a narrow model hold for a wide one, with ``transfer`` and without?

    python benchmarks/width_transfer.py coordinates
    python benchmarks/width_transfer.py depths
    python benchmarks/width_transfer.py rates RESULTS.csv
    python benchmarks/width_transfer.py picture RESULTS.csv PICTURE.png

``coordinates`` is the check of Yang et al. 2022 (appendix D.1): how far a few steps of Adam move the residual
stream (before the last norm, which would hide its size) and the logits of the same tokens, by width, and
``depths`` the same by number of layers. ``rates`` trains a decoder on the quickstart's text at every width
and rate, and goes on where it was: what is in RESULTS.csv is not trained again.
"""

import csv
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.types import Batch, Tree
from t5lite.models.config import AttentionConfig, DecoderOnlyConfig, NormalInitializer, Transfer
from t5lite.models.functional import FunctionalModel, build
from t5lite.optim import AdamWConfig, Constant, Optimizer, WarmupCosine
from t5lite.optim.base import ScheduleFn
from t5lite.optim.trained import resolve_trained
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.quickstart.corpus import verses
from t5lite.training.config import StepConfig
from t5lite.training.state import init_state
from t5lite.training.step import compile_train_step, make_train_step

WIDTHS = (32, 64, 128, 256)
DEPTHS = (2, 4, 8, 16)
RATES = tuple(2.0**-exponent for exponent in range(11, 3, -1))
HEAD_DIM = 16
LENGTH, ROWS, STEPS, LAST = 64, 16, 200, 20
BYTES = 256
COORDINATE_RATE = 2.0**-7


def model_of(width: int, *, transfer: bool, num_layers: int = DEPTHS[0]) -> FunctionalModel:
    """Return Llama's layers, heads of 16: at the least width and depth both kinds are one model."""
    config = DecoderOnlyConfig(
        vocab_size=BYTES,
        embed_dim=width,
        mlp_dim=3 * width,
        head_dim=HEAD_DIM,
        num_heads=width // HEAD_DIM,
        num_layers=num_layers,
        max_length=LENGTH,
        attention=AttentionConfig(scaled=True),
        initializer=NormalInitializer(std=WIDTHS[0] ** -0.5 / 2),
    )
    small = Transfer(embed_dim=WIDTHS[0], num_layers=DEPTHS[0])
    return build(replace(config, transfer=small) if transfer else config)


def optimizer_of(model: FunctionalModel, schedule: ScheduleFn) -> Optimizer:
    """Return AdamW; of a model with ``transfer``, by its factors."""
    adamw = AdamWConfig(b2=0.95)
    trained = resolve_trained(None, (), model.abstract_params)
    if model.growths:
        trained = trained.grown(adamw, model.growths, model.logical_axes)
    return trained.optimizer(partial(adamw.build, schedule), model.logical_axes)


def batches() -> Iterator[Batch]:
    """Yield random places of the English verses, as bytes."""
    text = np.frombuffer("\n".join(verse.english for verse in verses()).encode(), np.uint8)
    random = np.random.default_rng(0)
    while True:
        starts = random.integers(0, len(text) - LENGTH - 1, (ROWS, 1))
        rows = text[starts + np.arange(LENGTH + 1)].astype(np.int32)
        yield {
            "decoder_input_tokens": rows[:, :-1],
            "decoder_target_tokens": rows[:, 1:],
            "decoder_loss_weights": np.ones((ROWS, LENGTH), np.float32),
        }


def trained(model: FunctionalModel, schedule: ScheduleFn, *, steps: int) -> tuple[Tree, list[float]]:
    """Return the parameters after so many steps, and the losses (nats a byte)."""
    optimizer = optimizer_of(model, schedule)
    partitioner = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    state = init_state(model, optimizer, jax.random.key(0), partitioner)
    step = make_train_step(model, optimizer, StepConfig(), seed=0)
    step = compile_train_step(step, model, optimizer, partitioner)
    losses = []
    for _, batch in zip(range(steps), batches(), strict=False):
        state, metrics = step(state, jax.device_put(batch, partitioner.batch_sharding))
        losses.append(float(metrics["loss"].mean()))
    return state.params, losses


def moved(model: FunctionalModel, *, steps: int = 5) -> tuple[float, float]:
    """Return the RMS of what so many steps change of the residual stream and of the logits."""
    probe = next(batches())

    @jax.jit
    def outputs(params: Tree) -> tuple[jax.Array, jax.Array]:
        module = model.bind(params)
        logits = module(probe)
        module.decoder.final_norm = lambda x_BLD: x_BLD
        tokens = jnp.asarray(probe["decoder_input_tokens"])
        return module.encode(tokens, segment_ids_BM=jnp.ones_like(tokens)), logits

    before = outputs(jax.jit(model.init)(jax.random.key(0)))
    after = outputs(trained(model, Constant(value=COORDINATE_RATE).build(steps), steps=steps)[0])
    stream, logits = (
        float(jnp.sqrt(jnp.mean((new - old) ** 2))) for old, new in zip(before, after, strict=True)
    )
    return stream, logits


def coordinates() -> None:
    """Print the check for both kinds and every width."""
    _check("width", {width: partial(model_of, width) for width in (*WIDTHS, 2 * WIDTHS[-1])})


def depths() -> None:
    """Print the check for both kinds and every number of layers."""
    _check("layers", {number: partial(model_of, WIDTHS[0], num_layers=number) for number in DEPTHS})


def _check(name: str, models: Mapping[int, Callable[..., FunctionalModel]]) -> None:
    print(f"{name:6}  transfer  change of the residual stream, of the logits (RMS after 5 steps)")
    for transfer in (False, True):
        for size, made in models.items():
            stream, logits = moved(made(transfer=transfer))
            print(f"{size:6}  {transfer!s:8}  {stream:.3f}  {logits:.3f}", flush=True)


def rates(results: Path) -> None:
    """Train what is not in the file yet, the narrow ones first."""
    if not results.exists():
        results.write_text("width,transfer,rate,loss\n")
    done = {tuple(row[:3]) for row in csv.reader(results.open())}
    for width in WIDTHS:
        for transfer, rate in itertools.product((False, True), RATES):
            if (str(width), str(transfer), str(rate)) in done:
                continue
            schedule = WarmupCosine(peak=rate, warmup_steps=STEPS // 10).build(STEPS)
            losses = trained(model_of(width, transfer=transfer), schedule, steps=STEPS)[1]
            with results.open("a") as file:
                print(width, transfer, rate, f"{np.mean(losses[-LAST:]):.4f}", sep=",", file=file)


def picture(results: Path, path: Path) -> None:
    """Draw the losses by rate, a line a width; the best rate of each is marked, and printed."""
    from matplotlib import pyplot

    rows = [*csv.DictReader(results.open())]
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for panel, transfer in zip(panels, (False, True), strict=True):
        panel.set_title("rates of the narrow model (transfer)" if transfer else "standard")
        for width in WIDTHS:
            of_width = [
                (float(row["rate"]), float(row["loss"]))
                for row in rows
                if (row["width"], row["transfer"]) == (str(width), str(transfer))
            ]
            best = min(of_width, key=lambda point: point[1])
            print(f"width {width}, transfer {transfer}: 2^{np.log2(best[0]):.0f}, {best[1]:.3f} nats a byte")
            (line,) = panel.plot(*zip(*sorted(of_width), strict=True), label=f"width {width}")
            panel.plot(*best, "o", color=line.get_color())
        panel.set_xscale("log", base=2)
        panel.set_xlabel("learning rate (Adam)")
        panel.legend(frameon=False)
    panels[0].set_ylabel(f"loss of the last {LAST} of {STEPS} steps (nats a byte)")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    commands = {"coordinates": coordinates, "depths": depths, "rates": rates, "picture": picture}
    commands[sys.argv[1]](*map(Path, sys.argv[2:]))
