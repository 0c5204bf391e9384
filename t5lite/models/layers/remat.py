"""What the forward pass keeps for the backward pass (rematerialisation, gradient checkpointing)."""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import Offloadable

from t5lite.models.config import Execution

_DEVICE, _HOST = "device", "pinned_host"
"""JAX's names of the two memories."""
_CUDNN_FORWARD = "dot_product_attention_fwd_wrapper"
"""Primitive of ``jax.nn`` that gives attention's result and the sums of the softmax: its backward pass reads
both. A name can be given to the first alone, and for want of the second both would be made again."""


def remat_policy(execution: Execution) -> Callable[..., Any] | None:
    """Return the policy of ``execution.remat`` for ``jax.checkpoint``, None where everything is kept.

    The input of the checkpointed function, a layer's, is kept under every policy, unless a policy offloads
    it by name. What cuDNN's attention gives is ``context``.
    """
    policy = _policy_of_names(execution)
    if policy is None:
        return None
    names: tuple[str, ...] = ("context",) if execution.remat == "gathered" else execution.remat_names
    is_offloaded = execution.remat == "offload"
    of_context = Offloadable(src=_DEVICE, dst=_HOST) if is_offloaded else True

    def with_cudnn(primitive: Any, *operands: Any, **parameters: Any) -> Any:
        if primitive.name == _CUDNN_FORWARD and "context" in names:
            return of_context
        return policy(primitive, *operands, **parameters)

    return with_cudnn


def _policy_of_names(execution: Execution) -> Callable[..., Any] | None:
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
