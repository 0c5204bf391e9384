"""``t5lite plan``: which mesh, remat policy and microbatches to train a model with on a slice."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import jax
import tyro

from t5lite.cli.planned_recipes import Base, Destination, load_base
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.home import expand_fields
from t5lite.models.config import Dtype, Execution, ModelConfig
from t5lite.models.config.checks import LARGEST_SIZE
from t5lite.models.presets import preset
from t5lite.optim import OPTIMIZERS
from t5lite.optim.trained import check_patterns, resolve_trained
from t5lite.partitioning import abstract_partitioner
from t5lite.partitioning.unsplit import unsplit_messages
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.accelerator_types import described, parse_chips
from t5lite.planning.hardware.topology import Topology
from t5lite.planning.report import plan_report
from t5lite.planning.search.candidates import Candidate, Search, search
from t5lite.planning.search.finalists import Finalist, compile_candidates
from t5lite.planning.search.workload import Workload
from t5lite.runner.planned_recipe import Origin, figures_of, model_name, planned_recipe, workload_of
from t5lite.runner.trained import trained_messages
from t5lite.training.state import abstract_state, state_axes

_OPTIMIZERS = {name.removesuffix("Config").lower(): kind for name, kind in OPTIMIZERS.items()}
if TYPE_CHECKING:
    OptimizerName: TypeAlias = str
else:
    OptimizerName = Literal[tuple(_OPTIMIZERS)]

_OPTIMIZER: OptimizerName = "adamw"
_SAID_BY_THE_RECIPE = {
    "encoder_length": "its --data.inputs-length",
    "decoder_length": "its --data.targets-length, or what the objective makes of the inputs",
    "optimizer": "change the recipe",
    "compute_dtype": "its --execution.compute-dtype",
}
"""Options beside which a recipe says something else, and what changes it there."""
_ENCODER_LENGTH, _DECODER_LENGTH, _CONTEXT_LENGTH = 512, 114, 2048
"""T5's span corruption; and the context of a decoder-only model whose positions have no limit."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Find the mesh, remat policy and microbatches that train a model fastest on a slice of TPUs.

    Every way is predicted, the best are compiled for the slice, which need not be here. Chips are named as
    Google Cloud sells them: v5e-256 and v6e-64 count chips, v4-64 and v5p-128 count cores, two a chip. An
    arrangement is named outright: v5e:16x16, v5p:4x4x8. Exit code: 0, 2 a mistake, 3 nothing that was
    compiled fits.
    """

    model: str | None = None
    """A shape of `t5lite models`; beside --config in place of the recipe's."""
    config: str | None = None
    """A recipe of which everything is that is not planned: model, lengths, batch, optimizer, what is trained.
    Any other field of it is overridden by --FIELD VALUE."""
    chips: str
    """Such as v5e-256 or v5p:4x4x8."""
    num_slices: int = 1
    """Slices of that many chips."""
    global_batch_size: int | None = None
    """Rows of a step, those of the recipe by default."""
    encoder_length: int | None = None
    """Tokens of a row, 512 by default."""
    decoder_length: int | None = None
    """Tokens of a row; by default 114 beside an encoder, else the model's context, or 2048."""
    optimizer: OptimizerName | None = None
    """By default adamw."""
    trainable: tuple[str, ...] | None = None
    """What is trained, as in a recipe: decoder, '*/self_attention', or '!encoder'; everything by default."""
    compute_dtype: Dtype | None = None
    """By default bfloat16."""
    compile: int | None = None
    """Compile the best of them, minutes each: how many, 3 by default. Of several the best is compiled again
    with other compiler options."""
    no_compile: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Predict only: a few seconds."""
    write: str | None = None
    """Write the recipe with what is chosen to this file (.py); needs --config."""
    overwrite: bool = False
    """Replace the recipe that is there."""
    json: bool = False
    """Print JSON, with every way that is left."""

    def __post_init__(self):
        expand_fields(self, "write")
        if self.no_compile and self.compile is not None:
            raise ConfigError(
                f"--compile {self.compile} and --no-compile contradict each other; leave one out"
            )
        if self.num_compiled < 0:
            raise ConfigError(f"--compile {self.num_compiled} must be 0 (none) or more")
        for name in ("global_batch_size", "encoder_length", "decoder_length"):
            _check_size(name, getattr(self, name))
        if self.overwrite and self.write is None:
            raise ConfigError("--overwrite is of the file that --write names")
        if self.config is None:
            self._check_without_recipe()
        else:
            self._check_with_recipe()

    @property
    def num_compiled(self) -> int:
        """How many of the best ways are compiled."""
        return 0 if self.no_compile else 3 if self.compile is None else self.compile

    def _check_without_recipe(self) -> None:
        if self.model is None:
            raise ConfigError("give --model NAME, a shape of `t5lite models`, or --config RECIPE")
        if self.global_batch_size is None:
            raise ConfigError("--global-batch-size is missing: the rows of a step")
        if self.write is not None:
            raise ConfigError(
                f"--write {self.write} needs --config RECIPE, of which data, optimizer and schedule are, "
                "such as configs/t5_1_1_base_span_corruption.py"
            )

    def _check_with_recipe(self) -> None:
        for name, instead in _SAID_BY_THE_RECIPE.items():
            if (value := getattr(self, name)) is not None:
                raise ConfigError(f"{_option(name)} {value}: the recipe says it; {instead}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_size(name: str, size: int | None) -> None:
    if size is not None and size < 1:
        raise ConfigError(f"{_option(name)} {size} must be 1 or more")
    if size is not None and size > LARGEST_SIZE:
        raise ConfigError(f"{_option(name)} {size} must be at most {LARGEST_SIZE}, JAX's largest index")


def run(arguments: Sequence[str]) -> int:
    """Print the best ways to run a training step; return 0, or 3 if none that was compiled can be chosen."""
    known, words = command_line.parse_known(Arguments, arguments, prog="t5lite plan")
    if known.config is None:
        command_line.parse(Arguments, arguments, prog="t5lite plan")  # which refuses what is no option
    # Where an accelerator is, it is left to whoever uses it.
    jax.config.update("jax_platforms", "cpu")
    topology = parse_chips(known.chips, num_slices=known.num_slices)
    destination = _destination(known)
    base = base_of(known, words)
    workload = _preset_workload(known, topology) if base is None else workload_of(base.config, topology)
    heading = _heading(known, workload)
    found = _searched(workload, heading)
    finalists = _compiled(found, workload, known.num_compiled)
    best = plan_report.recommended(found, finalists)
    shown = {"plan": heading, **plan_report.as_json(found, finalists)}
    recipe = None
    if best is not None:
        _say_unsplit(best, workload)
        if base is not None and destination is not None:
            said = figures_of(best, topology, found, finalists, heading=heading)
            origin = _origin(base, arguments, destination.path)
            recipe = planned_recipe(base.config, best.partitioning, best.execution, said, origin)
            shown["written"] = {"figures": asdict(said), "origin": asdict(recipe.origin)}
    if known.json:
        print(json.dumps(shown, indent=2))
    else:
        print(plan_report.text(found, finalists, heading=heading, memory_bytes=topology.chip.memory_bytes))
    if recipe is not None and destination is not None:
        for change in recipe.origin.changes:
            print(change, file=sys.stderr)
        destination.write(recipe.text)
        print(f"wrote {destination.path}", file=sys.stderr)
    return ExitCode.DOES_NOT_FIT if best is None else ExitCode.DONE


def _destination(known: Arguments) -> Destination | None:
    """Return where the recipe is to be written, if it is; errors as of ``Destination.check``."""
    if known.write is None:
        return None
    destination = Destination(path=known.write, base=str(known.config), overwrite=known.overwrite)
    destination.check()
    return destination


def base_of(known: Arguments, words: Sequence[str]) -> Base | None:
    """Return the recipe that is planned for, if one is given; errors as of ``load_base``."""
    if known.config is None:
        return None
    if known.trainable is not None:
        words = [*words, "--trainable", *known.trainable]
    return load_base(known.config, words, model=known.model, batch_size=known.global_batch_size)


def _origin(base: Base, arguments: Sequence[str], path: str) -> Origin:
    return Origin(
        words=("plan", *(word for word in arguments if word != "--json")),
        path=path,
        base=base.path,
        base_batch_size=base.batch_size,
    )


def _preset_workload(known: Arguments, topology: Topology) -> Workload:
    config = preset(str(known.model))
    return Workload(
        config=config,
        optimizer=_OPTIMIZERS[known.optimizer or _OPTIMIZER](),
        batch=_batch_shape(config, known),
        topology=topology,
        trainable=known.trainable,
        execution=Execution(compute_dtype=known.compute_dtype or "bfloat16"),
    )


def _batch_shape(config: ModelConfig, known: Arguments) -> BatchShape:
    """Return the shape of the batch, its lengths by default those of the architecture.

    Raises:
      ConfigError: for a side that the model has not, or a row too long for it.
    """
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
        if name not in defaults:
            kind = config.architecture.replace("_", "-")
            raise ConfigError(
                f"{_option(name)} {given}: {known.model} is {kind} and has no such side; leave it out"
            )
        lengths[name] = given
    for length in lengths.values():
        config.check_length(length)
    return BatchShape(
        batch_size=known.global_batch_size or 0,
        encoder_length=lengths.get("encoder_length", 0),
        decoder_length=lengths.get("decoder_length", 0),
    )


def _rows(batch: BatchShape) -> str:
    lengths = [str(length) for length in (batch.encoder_length, batch.decoder_length) if length]
    return f"{batch.batch_size} rows of {' + '.join(lengths)} tokens"


def _heading(known: Arguments, workload: Workload) -> str:
    model = known.model or model_name(workload.config) or Path(str(known.config)).stem
    optimizer = type(workload.optimizer).__name__.removesuffix("Config").lower()
    heading = f"{model} on {described(workload.topology)}, {_rows(workload.batch)}, {optimizer}"
    trainable, ema_decay = workload.trainable, workload.ema_decay
    if ema_decay is not None:
        heading = f"{heading}, ema_decay {ema_decay:g}"
    return heading if trainable is None else f"{heading}, trainable {shlex.join(trainable)}"


def _searched(workload: Workload, heading: str) -> Search:
    """Return the ways that are predicted to fit.

    Raises:
      ConfigError: if there are none, or nothing is left to train.
    """
    model, trainable = workload.model(), workload.trainable
    check_patterns(trainable, ())
    trained = resolve_trained(workload.trained_patterns, (), model.abstract_params)
    costs = workload.costs()
    for message in trained_messages(trained, model):
        _announce(message)
    names = workload.execution.remat_names
    found = search(costs, trainable=trainable, kept=workload.partitioning, base_names=names)
    if not found.ranked:
        memory_bytes = workload.topology.chip.memory_bytes
        raise ConfigError(plan_report.nothing_fits(found, heading=heading, memory_bytes=memory_bytes))
    return found


def _compiled(found: Search, workload: Workload, number: int) -> list[Finalist]:
    return compile_candidates(found.kinds, workload, number, announce=_announce) if number else []


def _say_unsplit(best: Candidate, workload: Workload) -> None:
    model = workload.model()
    optimizer = workload.built_optimizer(model)
    mesh = abstract_partitioner(best.partitioning, workload.topology.num_devices)
    for message in unsplit_messages(mesh, abstract_state(model, optimizer), state_axes(model, optimizer)):
        _announce(message)


def _announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
