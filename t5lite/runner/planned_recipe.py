"""A recipe of what a plan chose: a base recipe in another mesh, remat policy and microbatches, as a file."""

import math
import re
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from typing import Any

from t5lite.core.python_source import WIDTH, chosen_fields, python_source
from t5lite.models import laptop
from t5lite.models.config import ModelConfig
from t5lite.models.presets import PRESETS, preset
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.planning.hardware.topology import Topology
from t5lite.planning.predicted.cost_model import PlannedExecution
from t5lite.planning.predicted.remat import remat_names
from t5lite.planning.report.table import duration, size
from t5lite.planning.search.candidates import Candidate, Search
from t5lite.planning.search.finalists import MARGIN_BYTES, Finalist
from t5lite.planning.search.workload import Workload
from t5lite.run_config import RunConfig
from t5lite.runner.compilation import batch_shape

_FIRST = ("run_dir", "model", "execution")
"""Fields that a recipe begins with; the others are in the order of ``RunConfig``."""


@dataclass(frozen=True, kw_only=True)
class CompiledFigures:
    """What the compiler says of the chosen step."""

    compiler: str
    """Its packages and their versions."""
    needed_bytes: int
    available_bytes: int
    margin_bytes: int
    """What the choice leaves free at least."""
    step_seconds: float
    """At least."""
    limiting: str
    mfu: float
    """At most."""
    serial_seconds: float
    """If nothing overlaps."""
    scheduled_seconds: float
    """As the compiler's schedule has it."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a recipe's header says of how it was chosen."""

    heading: str
    """Model, slice, batch and optimizer."""
    choice: str
    """Mesh, style, remat policy, microbatches, options."""
    topology: str
    num_slices: int
    num_considered: int
    num_compiled: int
    predicted_bytes: float
    predicted_seconds: float
    predicted_mfu: float
    compiled: CompiledFigures | None
    """None where nothing was."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a planned recipe comes from."""

    words: tuple[str, ...]
    """Of the command that wrote it, after ``t5lite``."""
    path: str
    """Where it is, as that command names it."""
    base: str
    """The recipe of which everything is that was not planned."""
    base_batch_size: int
    changes: tuple[str, ...] = ()
    """What else is not as in the base."""


def workload_of(config: RunConfig, topology: Topology) -> Workload:
    """Return what a run's step is planned by."""
    return Workload(
        config=config.model,
        optimizer=config.optimizer,
        batch=batch_shape(config),
        topology=topology,
        trainable=config.trainable,
        adapter=config.adapter,
        ema_decay=config.training.ema_decay,
        execution=config.execution,
        step=config.step,
        partitioning=config.partitioning,
    )


def figures_of(
    candidate: Candidate, topology: Topology, found: Search, finalists: Sequence[Finalist], *, heading: str
) -> Figures:
    """Return what is said of a choice.

    Args:
      candidate: that is chosen.
      topology: that it is planned for.
      found: what it is chosen of.
      finalists: all that were compiled; none if the candidate was not.
      heading: of the plan.
    """
    compiled = next((each for each in finalists if each.candidate == candidate), None)
    prediction = candidate.prediction
    return Figures(
        heading=heading,
        choice=candidate.words,
        topology=topology.slice_name,
        num_slices=topology.num_slices,
        num_considered=found.num_considered,
        num_compiled=len(finalists),
        predicted_bytes=prediction.memory.total,
        predicted_seconds=prediction.time.step,
        predicted_mfu=prediction.mfu,
        compiled=compiled and _compiled_figures(compiled),
    )


def _compiled_figures(finalist: Finalist) -> CompiledFigures | None:
    step, roofline = finalist.compiled, finalist.roofline
    if step is None or roofline is None:
        return None
    packages = ("jax", "libtpu") if step.topology.chip.platform == "tpu" else ("jax", "jaxlib")
    return CompiledFigures(
        compiler=" and ".join(f"{name} {metadata.version(name)}" for name in packages),
        needed_bytes=step.memory.needed,
        available_bytes=step.memory.available,
        margin_bytes=MARGIN_BYTES,
        step_seconds=roofline.step_seconds,
        limiting=roofline.limiting,
        mfu=roofline.mfu,
        serial_seconds=roofline.serial_seconds,
        scheduled_seconds=roofline.scheduled_seconds,
    )


@dataclass(frozen=True)
class PlannedRecipe:
    """A recipe that a plan made."""

    config: RunConfig
    figures: Figures
    origin: Origin

    @property
    def text(self) -> str:
        """The file: a header that says what made it and what to expect, and the recipe."""
        return f"{_header(self)}\n\nfrom t5lite import recipe as r\n\n\n{_function(self.config)}"


def planned_recipe(
    base: RunConfig,
    partitioning: PartitioningConfig,
    execution: PlannedExecution,
    figures: Figures,
    origin: Origin,
) -> PlannedRecipe:
    """Return the base's run in the way that was chosen.

    The batch of an evaluation that its mesh does not divide becomes the next larger that it does, which the
    origin then says.
    """
    mesh = abstract_partitioner(partitioning, math.prod(partitioning.sizes.values()))
    shards = mesh.num_shards(mesh.batch_sharding.spec[0])
    evaluations = {
        name: replace(each, batch_size=math.ceil(each.batch_size / shards) * shards)
        for name, each in base.evaluations.items()
    }
    changes = [
        f"evaluations.{name} takes {evaluations[name].batch_size:,} rows at once, not {each.batch_size:,}, "
        f"as the mesh has {shards:,} shares of a batch"
        for name, each in base.evaluations.items()
        if evaluations[name] != each
    ]
    config = replace(
        base,
        execution=replace(base.execution, remat=execution.remat, remat_names=remat_names(execution.remat)),
        step=replace(base.step, num_microbatches=execution.num_microbatches),
        partitioning=partitioning,
        evaluations=evaluations,
    )
    return PlannedRecipe(config, figures, replace(origin, changes=tuple(changes)))


def _header(recipe: PlannedRecipe) -> str:
    found, origin = recipe.figures, recipe.origin
    given = ["--config", origin.path, "--topology", found.topology]
    given += ["--num-slices", str(found.num_slices)] if found.num_slices > 1 else []
    commands = [origin.words, ("compile", *given), ("train", "--config", origin.path)]
    changes = [f"{each[0].upper()}{each[1:]}." for each in origin.changes]
    said = " ".join([_said(found), _kept(recipe.config, origin), *changes])
    summary = f"{found.heading.partition(',')[0]}: what `t5lite plan` chose."
    text = "\n\n".join([summary, "\n".join(map(_command, commands)), _filled(said)])
    raw = "r" * ("\\" in text)
    text = text.replace('"""', "'''")
    return f'{raw}"""{text}\n"""'


def _function(config: RunConfig) -> str:
    fields = chosen_fields(config)
    ordered = {name: fields.pop(name) for name in _FIRST if name in fields} | fields
    lines = ["def config() -> r.RunConfig:", '    """Return the recipe."""', "    return r.RunConfig("]
    for name, value in ordered.items():
        before = f"        {name}="
        source = python_source(value, prefix="r.", named=_named, indent=8, column=len(before))
        lines.append(f"{before}{source},")
    return "\n".join([*lines, "    )", ""])


def model_name(model: ModelConfig) -> str | None:
    """Return the name of the published shape that a model has."""
    expression = _models().get(model, "")
    return expression.split('"')[1] if '"' in expression else None


def _named(value: Any) -> str | None:
    return _models().get(value) if isinstance(value, ModelConfig) else None


@cache
def _models() -> dict[ModelConfig, str]:
    """Return how recipes name the models that have a name; of several of one shape the first."""
    names = {preset(name): f'r.preset("{name}")' for name in reversed(PRESETS)}
    laptops = {getattr(laptop, name): f"r.{name}" for name in vars(laptop) if name.startswith("LAPTOP_")}
    return names | laptops


def _said(found: Figures) -> str:
    predicted = (
        f"predicted are {size(found.predicted_bytes)} and {duration(found.predicted_seconds)} (MFU "
        f"{found.predicted_mfu:.0%})"
    )
    ways, compiled = f"For {found.heading}, of {found.num_considered:,} ways the fastest", found.compiled
    if compiled is None:
        return f"{ways} by prediction, not compiled: {predicted}."
    choice = f"of {found.num_compiled} compiled programs" if found.num_compiled > 1 else "by prediction"
    return (
        f"{ways} {choice} that leaves at least {size(compiled.margin_bytes)} of a device free. By "
        f"{compiled.compiler} it needs {size(compiled.needed_bytes)} of {size(compiled.available_bytes)}, "
        f"and a step takes at least {duration(compiled.step_seconds)} ({compiled.limiting}; MFU at most "
        f"{compiled.mfu:.0%}), about {duration(compiled.scheduled_seconds)} as scheduled, "
        f"{duration(compiled.serial_seconds)} if nothing overlaps; {predicted}. It was not run there."
    )


def _kept(config: RunConfig, origin: Origin) -> str:
    rows, kept = config.training.batch_size, f"What the command does not say is as in {origin.base}"
    if rows == origin.base_batch_size:
        return f"{kept}."
    return (
        f"{kept}, which has {origin.base_batch_size:,} rows a step: learning rate, warm-up and number of "
        f"steps were not tuned for {rows:,}."
    )


def _command(words: Sequence[str]) -> str:
    """Return a command for a shell, its options broken into lines."""
    line, lines = "    t5lite", []
    # An option goes with its value.
    for piece in re.split(r" (?=--)", shlex.join(words)):
        if len(line) + len(piece) + 3 > WIDTH:
            lines.append(f"{line} \\")
            line = "     "
        line += f" {piece}"
    return "\n".join([*lines, line])


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
