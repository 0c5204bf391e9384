"""What the forward pass keeps for the backward pass (rematerialisation, gradient checkpointing)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from t5lite.models.config import Execution
from t5lite.partitioning.constraints import gather_parameter

_DEVICE, _HOST = "device", "pinned_host"
"""JAX's names of the two memories."""


def remat_policy(execution: Execution) -> Callable[..., Any] | None:
    """Return the policy of ``execution.remat`` for ``jax.checkpoint``, None where everything is kept.

    The input of the checkpointed function, a layer's, is kept under every policy, unless a policy offloads
    it by name.
    """
    policies = jax.checkpoint_policies
    if execution.remat == "gathered":
        return policies.save_from_both_policies(
            policies.dots_with_no_batch_dims_saveable, policies.save_only_these_names("kernels", "context")
        )
    if execution.remat == "none":
        return None
    if execution.remat == "dots":
        return policies.dots_with_no_batch_dims_saveable
    if execution.remat == "save":
        # Named, the input would be kept twice: as the carry of the loop, and for the norm that reads it.
        return policies.save_only_these_names(
            *(each for each in execution.remat_names if each != "layer_input")
        )
    if execution.remat == "offload":
        return policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[],
            names_which_can_be_offloaded=list(execution.remat_names),
            offload_src=_DEVICE,
            offload_dst=_HOST,
        )
    return policies.nothing_saveable


def named_kernels(state: nnx.State, execution: Execution) -> nnx.State:
    """Return a layer's parameters, its kernels gathered and named where ``execution.remat_names`` has them.

    A kernel is cast and gathered over the devices that share the batch anyway, forward and backward. Kept as
    products read it, it is gathered once a step.

    Args:
      state: of one layer, each ``nnx.Param`` with the logical axes of its stack.
      execution: how the model is computed.
    """
    if execution.remat != "gathered" and "kernels" not in execution.remat_names:
        return state

    def named(parameter: nnx.Param) -> nnx.Variable:
        axes = tuple(parameter.get_metadata("out_sharding"))[1:]
        if "embed" not in axes or len(axes) < 2:
            return parameter
        kernel = parameter.get_value().astype(jnp.dtype(execution.compute_dtype))
        gathered = gather_parameter(kernel, axes)
        return parameter if gathered is kernel else parameter.replace(checkpoint_name(gathered, "kernels"))

    return jax.tree.map(named, state, is_leaf=lambda node: isinstance(node, nnx.Param))
