"""A trained model: that of a run directory, its parameters restored from one of its checkpoints."""

import dataclasses
import functools
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jax

from t5lite.adapters import Adaptation, AdaptedModel
from t5lite.adapters.base import united
from t5lite.checkpointing.partial import RestoreReport
from t5lite.checkpointing.reading import Step, largest_leaf, saved_shapes
from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.models.functional import FunctionalModel, build
from t5lite.models.quantization import quantized
from t5lite.optim.trained import merged as with_leaves
from t5lite.partitioning import Partitioner, multihost
from t5lite.partitioning.agreed_errors import in_all_or_none, leaders_result
from t5lite.runner.adapted import chosen_leaves, found_base, frozen_params
from t5lite.runner.averages import Average, check_average, restore_average
from t5lite.runner.checkpoint_choice import chosen_average, read_chosen
from t5lite.runner.int8_weights import Restored, Weights, as_int8, check_weights, restored_as_int8
from t5lite.runner.snapshot import Snapshot


@dataclass(frozen=True)
class TrainedModel:
    """A run's model with the parameters of one checkpoint on devices."""

    model: FunctionalModel
    params: Any
    vocabulary: Vocabulary
    report: RestoreReport
    origin: str
    """What the parameters are, in words that follow "weights"."""
    weights: Weights | None = None
    """As of ``load_trained``."""

    @property
    def step(self) -> int:
        """Of the checkpoint."""
        return self.report.step


def load_trained(
    found: Snapshot,
    partitioner: Partitioner,
    *,
    step: Step = "newest",
    average: Average | None = None,
    weights: Weights | None = None,
) -> TrainedModel:
    """Return the model of a run, its parameters restored onto the partitioner's mesh.

    Args:
      found: the run.
      partitioner: of the mesh.
      step: which checkpoint.
      average: what to take of it, or of those before it, in place of its parameters; None goes by what was
        measured where the best is chosen (``chosen_average``), and says so.
      weights: int8 takes the kernels of layers as such, with an adapter merged, and says what memory they
        have; None takes them as they were saved.

    Raises:
      UserError: if the directory, its vocabulary or its checkpoint cannot be used.
    """
    check_weights(weights)
    average = _taken(found, step, average)
    directory, vocabulary = found.directory, found.vocabulary
    if found.model.adaptation is not None:
        merged = _load_merged(found, found.model.adaptation, partitioner, step=step, average=average)
        if weights is None:
            return merged
        small = as_int8(merged.model, merged.params, partitioner)
        return dataclasses.replace(merged, model=quantized(merged.model), params=small, weights=weights)
    model = build(found.model.config, found.model.execution)
    abstract_params = sharded_abstract_params(model, partitioner)
    largest = largest_leaf(abstract_params)

    def of_restored(model: FunctionalModel, restored: Restored) -> TrainedModel:
        params, report, origin = restored
        return TrainedModel(model, params, vocabulary, report, origin, weights)

    def read(chosen: int) -> TrainedModel:
        def restore(wanted: Tree, others: Collection[str]) -> Restored:
            return restore_average(
                directory.checkpoints, wanted, chosen, average, max_host_bytes=largest, leave=others
            )

        if weights is None:
            return of_restored(model, restore(abstract_params, ()))
        restored = restored_as_int8(model, abstract_params, partitioner, restore)
        return of_restored(quantized(model), restored)

    return read_chosen(directory, step, read)


def _taken(found: Snapshot, step: Step, average: Average | None) -> Average | None:
    """Return ``chosen_average``, and say so where that is not what is asked for.

    Raises:
      UserError: if there can be no such average, or the run's configuration is damaged.
    """
    check_average(average)
    taken = leaders_result(lambda: chosen_average(found, step, average))
    if taken != average and multihost.is_leader():
        print(
            f"note: best was measured with average={taken}, which is taken; --step with its number takes the "
            "parameters themselves",
            file=sys.stderr,
        )
    return taken


@dataclass(frozen=True)
class _LoadedAdapter:
    """A run's base with its adapter on devices, apart."""

    model: AdaptedModel
    params: Any
    """Of both."""
    report: RestoreReport
    """Of the run's own checkpoint."""
    origin: str
    """As of ``TrainedModel``."""


def _load_merged(
    found: Snapshot, adaptation: Adaptation, partitioner: Partitioner, *, step: Step, average: Average | None
) -> TrainedModel:
    """Return the base of a run with its adapter worked into it; errors as of ``load_trained``."""
    adapted = _load_adapted(found, adaptation, partitioner, step=step, average=average)
    origin = f"{adapted.origin}, an adapter beside step {adaptation.base.step} of {adaptation.base.run}"
    if not adaptation.adapter.merges:
        return TrainedModel(adapted.model, adapted.params, found.vocabulary, adapted.report, origin)
    base, (params, own) = adapted.model.base, adapted.model.apart(adapted.params)
    merge = jax.jit(
        functools.partial(adaptation.adapter.merged, base),
        out_shardings=partitioner.tree_shardings(base.logical_axes, base.abstract_params),
        donate_argnums=0,
    )
    origin = f"{adapted.origin}, an adapter merged into step {adaptation.base.step} of {adaptation.base.run}"
    return TrainedModel(base, merge(params, own), found.vocabulary, adapted.report, origin)


def _load_adapted(
    found: Snapshot, adaptation: Adaptation, partitioner: Partitioner, *, step: Step, average: Average | None
) -> _LoadedAdapter:
    """Return the base of a run and its adapter; an average is one of what was trained, A and B each.

    Raises:
      UserError: as of ``load_trained``, and if the base is gone or another.
    """
    base = leaders_result(lambda: found_base(adaptation.base))
    model, abstract_params = _adapted_model(found, adaptation, partitioner)

    def read(chosen: int) -> _LoadedAdapter:
        trained, report, origin = _read_trained(found, abstract_params, chosen, average)
        params = united(frozen_params(base, abstract_params, trained), trained)
        return _LoadedAdapter(model, params, report, origin)

    return read_chosen(found.directory, step, read)


def load_adapter(
    found: Snapshot, partitioner: Partitioner, *, step: Step = "newest", average: Average | None = None
) -> TrainedModel:
    """Return what a run has trained beside its base; arguments as of ``load_trained``.

    Little of the base is read: its ``params`` are of ``BaseAdapter.alone``, with a ``ShapeDtypeStruct`` for
    what is the base's.

    Raises:
      ConfigError: if the run has no adapter.
      UserError: as of ``load_trained``.
    """
    average = _taken(found, step, average)
    adaptation = found.model.adaptation
    if adaptation is None:
        run = found.directory.path
        raise ConfigError(
            f"{run} holds a whole model and no adapter; export that by --format huggingface, or train an "
            f"adapter beside it by --initialize-from.run {run} (docs/adapters.md)"
        )
    model, abstract_params = _adapted_model(found, adaptation, partitioner)
    beside: Tree = {}
    if paths := adaptation.adapter.read_for_alone(model.base):
        wanted = chosen_leaves(abstract_params, {path.replace("/", ".") for path in paths}.__contains__)
        beside = frozen_params(leaders_result(lambda: found_base(adaptation.base)), wanted, {})

    def read(chosen: int) -> TrainedModel:
        trained, report, origin = _read_trained(found, abstract_params, chosen, average)
        base, own = model.apart(with_leaves(abstract_params, trained))
        params = adaptation.adapter.alone(model.base, base, own, beside)
        origin = f"{origin}, an adapter of step {adaptation.base.step} of {adaptation.base.run}"
        return TrainedModel(model.base, params, found.vocabulary, report, origin)

    return read_chosen(found.directory, step, read)


def _adapted_model(
    found: Snapshot, adaptation: Adaptation, partitioner: Partitioner
) -> tuple[AdaptedModel, Tree]:
    """Return the model of a run with its adapter, and its parameters with their shardings."""
    # A base that was trained beside in bfloat16 takes the update in float32, which would be rounded away.
    execution = dataclasses.replace(found.model.execution, param_dtype="float32")
    model = AdaptedModel.of(build(found.model.config, execution), adaptation.adapter)
    return model, sharded_abstract_params(model, partitioner)


def _read_trained(
    found: Snapshot, abstract_params: Tree, step: int, average: Average | None
) -> tuple[Tree, RestoreReport, str]:
    """Return what the checkpoint of an adapter holds of the parameters; as of ``restore_average``."""
    checkpoints = found.directory.checkpoints
    own = in_all_or_none(lambda: saved_shapes(checkpoints, step, "params"))
    wanted = chosen_leaves(abstract_params, own.__contains__)
    return restore_average(checkpoints, wanted, step, average, max_host_bytes=largest_leaf(wanted))


def sharded_abstract_params(model: FunctionalModel, partitioner: Partitioner) -> Tree:
    """Return the parameters as ``ShapeDtypeStruct``s with their shardings: what a restore fills."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        model.abstract_params,
        partitioner.tree_shardings(model.logical_axes, model.abstract_params),
    )
