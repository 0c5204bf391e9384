"""Muon (Jordan et al., 2024): orthogonalised momentum for the matrices inside the stacks."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import jax
from optax import contrib

from t5lite.core.errors import ConfigError
from t5lite.core.growth import Growth
from t5lite.core.types import LogicalAxes, Tree
from t5lite.optim.adamw import AdamWConfig
from t5lite.optim.base import (
    BaseOptimizer,
    MatrixDims,
    Optimizer,
    ScheduleFn,
    learning_rates,
    matrix_dims,
    to_float32,
    unit_factors,
)

_TABLES = {"vocab", "positions", "token_types", "labels"}
"""Axes of tables that are looked up row by row and of outputs, as opposed to maps within the network."""


class MuonOptimizerState(NamedTuple):
    """Momentum by the path of each stack matrix, and the state of AdamW for every other parameter."""

    muon: Tree
    adamw: Tree


@dataclass(frozen=True, kw_only=True)
class MuonConfig(BaseOptimizer):
    """Muon on stack matrices, one layer at a time; AdamW on embeddings, outputs, norms and biases.

    The orthogonalisation is optax's (Newton-Schulz), of all heads of an attention kernel at once, as PyTorch
    implementations have it. Updates are scaled to AdamW's RMS (Liu et al., 2025, "Muon is scalable for LLM
    training"), so both parts share one learning rate.
    """

    momentum: float = 0.95
    """Decay of the momentum (Nesterov)."""
    newton_schulz_steps: int = 5
    """Iterations of the orthogonalisation."""
    update_rms: float = 0.2
    """RMS of an update before the learning rate; 0.2 is what AdamW shows."""
    weight_decay: float = 0.0
    """Times the learning rate, on the stack matrices."""
    adamw: AdamWConfig = field(default_factory=AdamWConfig)
    """For every other parameter."""

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"optimizer.momentum={self.momentum} must be in [0, 1)")
        if self.newton_schulz_steps < 1:
            raise ConfigError(f"optimizer.newton_schulz_steps={self.newton_schulz_steps} must be 1 or more")
        if self.update_rms <= 0:
            raise ConfigError(f"optimizer.update_rms={self.update_rms} must be above 0")
        if self.weight_decay < 0:
            raise ConfigError(f"optimizer.weight_decay={self.weight_decay} must be 0 or more")

    def rate_factor(self, growth: Growth, axes: LogicalAxes) -> float:
        """Return what multiplies the learning rate of a parameter of a model that has grown.

        An orthogonal update of a given RMS is the larger a map the wider it is, as initial values are; that
        of one head of keys or values, which does not widen, by its inputs alone, as Adam's.
        """
        if "kv" in axes:
            return growth.update
        return growth.initial if _in_stack(axes) else self.adamw.rate_factor(growth, axes)

    def build(
        self,
        schedule: ScheduleFn,
        logical_axes: Tree,
        rate_factors: Tree | None = None,
        decay_factors: Tree | None = None,
    ) -> Optimizer:
        """Return the optimizer for parameters with these logical axes (nested dict of tuples).

        Args:
          schedule: learning rate.
          logical_axes: of the parameters.
          rate_factors: what multiplies the learning rate of each parameter; None: 1.
          decay_factors: what multiplies the weight decay besides; None: 1.
        """
        structure = jax.tree.structure(logical_axes, is_leaf=lambda x: isinstance(x, tuple))
        axes_by_path = _by_path(logical_axes)
        numbers = {path: _dimension_numbers(axes) for path, axes in axes_by_path.items() if _in_stack(axes)}
        other_axes = {path: axes for path, axes in axes_by_path.items() if path not in numbers}
        factors = _by_path(rate_factors or unit_factors(logical_axes))
        decays = _by_path(decay_factors or unit_factors(logical_axes))
        adamw = self.adamw.build(
            schedule, other_axes, *({path: each[path] for path in other_axes} for each in (factors, decays))
        )
        muon = contrib.scale_by_muon(
            ns_steps=self.newton_schulz_steps, beta=self.momentum, weight_dimension_numbers=numbers
        )

        def split(tree: Tree) -> tuple[dict, dict]:
            leaves = _by_path(to_float32(tree))
            return {path: leaves[path] for path in numbers}, {path: leaves[path] for path in other_axes}

        def init(params: Tree) -> MuonOptimizerState:
            matrices, others = split(params)
            return MuonOptimizerState(muon=muon.init(matrices), adamw=adamw.init(others))

        def learning_rate(opt_state: MuonOptimizerState) -> jax.Array:
            return schedule(opt_state.muon.count)

        def update(grads: Tree, opt_state: MuonOptimizerState, params: Tree) -> tuple[Tree, Tree]:
            (matrix_grads, other_grads), (matrices, others) = split(grads), split(params)
            rates = learning_rates(learning_rate(opt_state), factors)
            directions, muon_state = cast(Tree, muon.update(matrix_grads, opt_state.muon))
            updates, adamw_state = adamw.update(other_grads, opt_state.adamw, others)
            for path, direction in directions.items():
                scale = self.update_rms * _rms_gain(direction.shape, axes_by_path[path])
                decayed = scale * direction + self.weight_decay * decays[path] * matrices[path]
                updates[path] = -rates[path] * decayed
            ordered = structure.unflatten([updates[path] for path in axes_by_path])
            return ordered, MuonOptimizerState(muon=muon_state, adamw=adamw_state)

        def state_axes(abstract_opt_state: MuonOptimizerState) -> MuonOptimizerState:
            momentum_axes = {path: axes_by_path[path] for path in numbers}
            return MuonOptimizerState(
                muon=abstract_opt_state.muon._replace(count=(), mu=momentum_axes, ns_coeffs=(None,)),
                adamw=adamw.state_axes(abstract_opt_state.adamw),
            )

        return Optimizer(init=init, update=update, state_axes=state_axes, learning_rate=learning_rate)


def _by_path(tree: Tree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: isinstance(x, tuple))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _in_stack(axes: LogicalAxes) -> bool:
    return matrix_dims(axes) is not None and not _TABLES & set(axes)


def _dimension_numbers(axes: LogicalAxes) -> contrib.MuonDimensionNumbers:
    """Return which dimensions are contracted with the input; ``layers`` is left over as a batch."""
    inputs, outputs = sorted(_dims(axes))
    return contrib.MuonDimensionNumbers(reduction_axis=inputs, output_axis=outputs)


def _rms_gain(shape: tuple[int, ...], axes: LogicalAxes) -> float:
    """Return the factor that gives an orthogonal matrix an RMS of 1: the root of its longer side."""
    return math.sqrt(max(shape[d] for d in _dims(axes)))


def _dims(axes: LogicalAxes) -> MatrixDims:
    dims = matrix_dims(axes)
    assert dims is not None
    return dims
