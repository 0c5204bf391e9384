"""What the forward pass keeps for the backward pass (rematerialisation, gradient checkpointing)."""

from collections.abc import Callable
from typing import Any

import jax

from t5lite.models.config import Execution

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
