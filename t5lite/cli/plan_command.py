"""``t5lite plan``: which mesh, remat policy and microbatches to train a model with on a slice."""

import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import jax
import tyro

from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.models.config import Dtype, Execution, ModelConfig
from t5lite.models.functional import build
from t5lite.models.presets import preset
from t5lite.optim import OPTIMIZERS, OptimizerConfig
from t5lite.optim.trained import check_patterns, resolve_trained
from t5lite.partitioning import abstract_partitioner
from t5lite.partitioning.unsplit import unsplit_messages
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.accelerator_types import described, parse_chips
from t5lite.planning.hardware.topology import Topology
from t5lite.planning.predicted.cost_model import CostModel
from t5lite.planning.report import plan_report
from t5lite.planning.search.candidates import Candidate, diverse, search
from t5lite.planning.search.finalists import Finalist, compile_candidates, planned_optimizer
from t5lite.runner.trained import trained_messages
from t5lite.training.state import abstract_state, state_axes

_OPTIMIZERS = {name.removesuffix("Config").lower(): kind for name, kind in OPTIMIZERS.items()}
if TYPE_CHECKING:
    OptimizerName: TypeAlias = str
else:
    OptimizerName = Literal[tuple(_OPTIMIZERS)]

_ENCODER_LENGTH, _DECODER_LENGTH, _CONTEXT_LENGTH = 512, 114, 2048
"""T5's span corruption; and the context of a decoder-only model whose positions have no limit."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Find the mesh, remat policy and microbatches that train a model fastest on a slice of TPUs.

    Every way is predicted, the best are compiled for the slice, which need not be here. Chips are named as
    Google Cloud sells them: v5e-256 and v6e-64 count chips, v4-64 and v5p-128 count cores, two a chip. An
    arrangement is named outright: v5e:16x16, v5p:4x4x8.
    """

    model: str
    """A shape of `t5lite models`."""
    chips: str
    """Such as v5e-256 or v5p:4x4x8."""
    num_slices: int = 1
    """Slices of that many chips."""
    global_batch_size: int
    """Rows of a step."""
    encoder_length: int | None = None
    """Tokens of a row, 512 by default."""
    decoder_length: int | None = None
    """Tokens of a row; by default 114 beside an encoder, else the model's context, or 2048."""
    optimizer: OptimizerName = "adamw"
    trainable: tuple[str, ...] | None = None
    """What is trained, as in a recipe: decoder, '*/self_attention', or '!encoder'; everything by default."""
    compute_dtype: Dtype = "bfloat16"
    compile: int | None = None
    """Compile the best of them, minutes each: how many, 3 by default."""
    no_compile: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Predict only: a few seconds."""
    json: bool = False
    """Print JSON, with every way that is left."""

    def __post_init__(self):
        if self.no_compile and self.compile is not None:
            raise ConfigError(
                f"--compile {self.compile} and --no-compile contradict each other; leave one out"
            )
        if self.num_compiled < 0:
            raise ConfigError(f"--compile {self.num_compiled} must be 0 (none) or more")

    @property
    def num_compiled(self) -> int:
        """How many of the best ways are compiled."""
        return 0 if self.no_compile else 3 if self.compile is None else self.compile


def run(arguments: Sequence[str]) -> int:
    """Print the best ways to run a training step, and return 0."""
    known = command_line.parse(Arguments, arguments, prog="t5lite plan")
    number = known.num_compiled
    # Where an accelerator is, it is left to whoever uses it.
    jax.config.update("jax_platforms", "cpu")
    config, execution = preset(known.model), Execution(compute_dtype=known.compute_dtype)
    batch = _batch_shape(config, known)
    topology = parse_chips(known.chips, num_slices=known.num_slices)
    optimizer = _OPTIMIZERS[known.optimizer]()
    model = build(config, execution)
    trainable = known.trainable
    check_patterns(trainable, ())
    trained = resolve_trained(trainable, (), model.abstract_params)
    planned = planned_optimizer(optimizer, model, trainable)
    for message in trained_messages(trained, model):
        print(message, file=sys.stderr)
    costs = CostModel(model, planned, topology, batch)
    found = search(costs, trainable=trainable)
    heading = f"{known.model} on {described(topology)}, {_rows(batch)}, {known.optimizer}"
    heading += "" if trainable is None else f", trainable {shlex.join(trainable)}"
    available = topology.chip.memory_bytes
    if not found.ranked:
        raise ConfigError(plan_report.nothing_fits(found, heading=heading, memory_bytes=available))
    candidates = diverse(found.ranked, number) if number else []
    finalists = _compile(candidates, config, execution, optimizer, topology, batch)
    best = plan_report.best(found, finalists)
    mesh = abstract_partitioner(best.partitioning, topology.num_devices)
    for message in unsplit_messages(mesh, abstract_state(model, planned), state_axes(model, planned)):
        print(message, file=sys.stderr)
    if known.json:
        print(json.dumps({"plan": heading, **plan_report.as_json(found, finalists)}, indent=2))
    else:
        print(plan_report.text(found, finalists, heading=heading, memory_bytes=available))
    return 0


def _batch_shape(config: ModelConfig, known: Arguments) -> BatchShape:
    """Return the shape of the batch, its lengths by default those of the architecture.

    Raises:
      ConfigError: for a size that is not positive, a side that the model has not, or a row too long for it.
    """
    if known.global_batch_size < 1:
        raise ConfigError(f"--global-batch-size {known.global_batch_size} must be 1 or more")
    limit = config.position_limit
    defaults = {
        "encoder_length": min(_ENCODER_LENGTH, limit or _ENCODER_LENGTH),
        "decoder_length": _DECODER_LENGTH if config.cross_attends else limit or _CONTEXT_LENGTH,
    }
    defaults = {f"{side}_length": defaults[f"{side}_length"] for side in config.sides}
    lengths = dict(defaults)
    for name in ("encoder_length", "decoder_length"):
        given = getattr(known, name)
        if given is None:
            continue
        option = "--" + name.replace("_", "-")
        if name not in defaults:
            kind = config.architecture.replace("_", "-")
            raise ConfigError(f"{option} {given}: {known.model} is {kind} and has no such side; leave it out")
        if given < 1:
            raise ConfigError(f"{option} {given} must be 1 or more")
        lengths[name] = given
    for length in lengths.values():
        config.check_length(length)
    return BatchShape(
        batch_size=known.global_batch_size,
        encoder_length=lengths.get("encoder_length", 0),
        decoder_length=lengths.get("decoder_length", 0),
    )


def _rows(batch: BatchShape) -> str:
    lengths = [str(length) for length in (batch.encoder_length, batch.decoder_length) if length]
    return f"{batch.batch_size} rows of {' + '.join(lengths)} tokens"


def _compile(
    candidates: Sequence[Candidate],
    config: ModelConfig,
    execution: Execution,
    optimizer: OptimizerConfig,
    topology: Topology,
    batch: BatchShape,
) -> list[Finalist]:
    """Return the compiled candidates, best first; the time that is left goes to standard error."""
    if not candidates:
        return []
    start = time.monotonic()
    finalists: list[Finalist] = []
    print(f"compiling 1 of {len(candidates)}, a minute or several each", file=sys.stderr, flush=True)
    for finalist in compile_candidates(candidates, config, execution, optimizer, topology, batch):
        finalists.append(finalist)
        left = len(candidates) - len(finalists)
        if left:
            seconds = (time.monotonic() - start) / len(finalists) * left
            progress = f"compiling {len(finalists) + 1} of {len(candidates)}, about {seconds:.0f} s left"
            print(progress, file=sys.stderr, flush=True)
    return sorted(finalists, key=lambda each: each.rank)
