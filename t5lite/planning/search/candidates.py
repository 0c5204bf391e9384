"""Every way to run a train step on a slice, compared by the cost model."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from t5lite.core.errors import ConfigError
from t5lite.core.python_source import python_source
from t5lite.partitioning import PartitioningConfig, abstract_partitioner
from t5lite.planning.hardware.topology import Topology
from t5lite.planning.predicted.cost_model import CostModel, MeshCosts, PlannedExecution, Prediction
from t5lite.planning.predicted.remat import PLANNED, remat_names

MODEL_NOT_DIVISIBLE = "the mesh does not divide the model"
BATCH_NOT_DIVISIBLE = "the mesh or the microbatches do not divide the batch"
TOO_LARGE = "predicted not to fit in memory"
DOMINATED = "slower than another way, and larger"
_MARGIN = 0.9
"""Share of the memory that a prediction may take: the compiler was seen to need up to a tenth more."""
_MAX_MICROBATCHES = 64
_PLAIN = PartitioningConfig()


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to run a step."""

    partitioning: PartitioningConfig
    execution: PlannedExecution
    prediction: Prediction
    trainable: tuple[str, ...] | None = None
    """Patterns of what is trained; None is everything."""
    base: PartitioningConfig = _PLAIN
    """That of the recipe that the options are for."""
    base_names: tuple[str, ...] = ()
    """That recipe's ``remat_names``."""

    @property
    def words(self) -> str:
        """Mesh, style, remat policy, microbatches and what the compiler is asked for, in one line."""
        sizes = self.partitioning.sizes.items()
        mesh = " ".join(f"{name}={size}" for name, size in sizes if size > 1) or "one device"
        options = [f"{name}={value}" for name, value in self.partitioning.compiler_options]
        run = self.execution
        return "  ".join([mesh, self.partitioning.style, run.remat, str(run.num_microbatches), *options])

    @property
    def recipe(self) -> tuple[str, ...]:
        """The lines of a recipe that ask for it; ``remat`` is the execution's."""
        names = remat_names(self.execution.remat)
        lines = [
            f"partitioning={python_source(self.partitioning, prefix='r.')}",
            f"remat={python_source(self.execution.remat)}",
            *([f"remat_names={python_source(names)}"] if names or self.base_names else []),
            f"step=r.StepConfig(num_microbatches={self.execution.num_microbatches})",
        ]
        if self.trainable is not None:
            lines.append(f"trainable={python_source(self.trainable)}")
        return tuple(lines)

    @property
    def overrides(self) -> str:
        """The same as options of ``t5lite train``: what is not so in the base, and its style."""
        chosen = {"style": self.partitioning.style}
        chosen |= {
            name: value for name, value in vars(self.partitioning).items() if value != vars(self.base)[name]
        }
        words = [
            f"--partitioning.{name.replace('_', '-')} {shlex.join(_words(value))}"
            for name, value in chosen.items()
        ]
        words += [f"--execution.remat {self.execution.remat}"]
        names = remat_names(self.execution.remat)
        if names or self.base_names:  # without a value it takes those of the base away
            words += [" ".join(["--execution.remat-names", *map(shlex.quote, names)])]
        words += [f"--step.num-microbatches {self.execution.num_microbatches}"]
        return " ".join(
            words + ([] if self.trainable is None else ["--trainable", shlex.join(self.trainable)])
        )


@dataclass(frozen=True, kw_only=True)
class Search:
    """What was found."""

    ranked: tuple[Candidate, ...]
    """Ways that fit and that no other beats in both time and memory, fastest first."""
    kinds: tuple[tuple[Candidate, ...], ...]
    """Ways that fit by style and remat policy, the fastest kind first, and in each as in ``ranked``: what is
    worth compiling, as predictions do not tell apart what they find nearly equal."""
    smallest: Candidate | None
    """The one that takes least memory, whether it fits or not."""
    num_considered: int
    dropped: Mapping[str, int]
    """How many others were dropped, by reason."""


def search(
    costs: CostModel,
    *,
    trainable: tuple[str, ...] | None = None,
    kept: PartitioningConfig = _PLAIN,
    base_names: tuple[str, ...] = (),
) -> Search:
    """Compare every mesh, remat policy and number of microbatches for what the cost model is of.

    Args:
      costs: of a model, an optimizer, a topology and a batch.
      trainable: patterns of what that optimizer trains, for the recipe; None is everything.
      kept: what of a partitioning is neither its mesh nor its style, which every way has.
      base_names: the ``remat_names`` of the recipe that the ways are options for.
    """
    dropped: Counter[str] = Counter()
    runnable: list[Candidate] = []
    executions = list(_executions(costs.batch.batch_size))
    for partitioning in partitionings(costs.topology, kept):
        try:
            mesh = costs.on(abstract_partitioner(partitioning, costs.topology.num_devices))
        except ConfigError as error:
            reason = BATCH_NOT_DIVISIBLE if str(error).startswith("batch_size") else MODEL_NOT_DIVISIBLE
            dropped[reason] += len(executions)
            continue
        for execution in executions:
            prediction = _predict(mesh, execution)
            if prediction is None:
                dropped[BATCH_NOT_DIVISIBLE] += 1
            else:
                runnable.append(
                    Candidate(
                        partitioning=partitioning,
                        execution=execution,
                        prediction=prediction,
                        trainable=trainable,
                        base=kept,
                        base_names=base_names,
                    )
                )
    available = _MARGIN * costs.topology.chip.memory_bytes
    fitting = [each for each in runnable if each.prediction.memory.total <= available]
    ranked = _undominated(fitting)
    dropped[TOO_LARGE] = len(runnable) - len(fitting)
    dropped[DOMINATED] = len(fitting) - len(ranked)
    return Search(
        ranked=tuple(ranked),
        kinds=_kinds(fitting),
        smallest=min(runnable, key=lambda each: each.prediction.memory.total, default=None),
        num_considered=len(runnable) + dropped[MODEL_NOT_DIVISIBLE] + dropped[BATCH_NOT_DIVISIBLE],
        dropped={reason: number for reason, number in dropped.items() if number},
    )


def partitionings(topology: Topology, kept: PartitioningConfig = _PLAIN) -> Iterator[PartitioningConfig]:
    """Yield every mesh over a topology's devices once, in every style that uses all of its axes.

    Slices differ along ``replica`` only. Without sharded parameters ``replica`` and ``fsdp`` are the same, so
    that style is tried with as many replicas as slices. All have what is ``kept``: rules and options.
    """
    devices, slices = topology.num_devices, topology.num_slices
    one = replace(kept, replica=1, fsdp=1, sequence=1, tensor=1)
    if devices % slices == 0:
        yield replace(one, style="data_parallel", replica=slices, fsdp=devices // slices)
    for replica in _divisors(devices):
        if replica % slices:
            continue
        for tensor in _divisors(devices // replica):
            for sequence in _divisors(devices // replica // tensor):
                for style in _styles(tensor=tensor, sequence=sequence):
                    yield replace(
                        one,
                        style=style,
                        replica=replica,
                        fsdp=devices // replica // tensor // sequence,
                        sequence=sequence,
                        tensor=tensor,
                    )


def _styles(*, tensor: int, sequence: int) -> tuple[Any, ...]:
    if sequence > 1:
        return ("sequence_parallel",)
    return ("tensor_parallel", "sequence_parallel") if tensor > 1 else ("fsdp",)


def _executions(batch_size: int) -> Iterator[PlannedExecution]:
    for remat in PLANNED:
        for number in range(1, min(batch_size, _MAX_MICROBATCHES) + 1):
            if batch_size % number == 0:
                yield PlannedExecution(remat=remat, num_microbatches=number)


def _predict(mesh: MeshCosts, execution: PlannedExecution) -> Prediction | None:
    try:
        return mesh.predict(execution)
    except ConfigError:
        return None


def _kinds(candidates: Sequence[Candidate]) -> tuple[tuple[Candidate, ...], ...]:
    kinds: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        kinds.setdefault((candidate.partitioning.style, candidate.execution.remat), []).append(candidate)
    ranked = [tuple(_undominated(each)) for each in kinds.values()]
    return tuple(sorted(ranked, key=lambda kind: kind[0].prediction.time.ranking))


def _undominated(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates, fastest first, each of which needs less memory than all faster ones."""
    kept: list[Candidate] = []
    for candidate in sorted(
        candidates, key=lambda each: (each.prediction.time.ranking, each.prediction.memory.total)
    ):
        if not kept or candidate.prediction.memory.total < kept[-1].prediction.memory.total:
            kept.append(candidate)
    return kept


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def _words(value: Any) -> list[str]:
    """Return a field's value as the command line takes it: pairs one after another."""
    return [word for each in value for word in _words(each)] if isinstance(value, tuple) else [str(value)]
