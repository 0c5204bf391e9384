"""What the forward pass keeps for the backward pass (rematerialisation, gradient checkpointing)."""

from collections.abc import Callable
from typing import Any

import jax

from t5lite.models.config import TransformerConfig

_DEVICE, _HOST = "device", "pinned_host"
"""JAX's names of the two memories."""


def remat_policy(config: TransformerConfig) -> Callable[..., Any] | None:
    """Return the policy of ``config.remat`` for ``jax.checkpoint``, None where everything is kept.

    The input of the checkpointed function, a layer's, is kept under every policy, unless a policy offloads
    it by name.
    """
    policies = jax.checkpoint_policies
    if config.remat == "none":
        return None
    if config.remat == "dots":
        return policies.dots_with_no_batch_dims_saveable
    if config.remat == "save":
        # Named, the input would be kept twice: as the carry of the loop, and for the norm that reads it.
        return policies.save_only_these_names(*(each for each in config.remat_names if each != "layer_input"))
    if config.remat == "offload":
        return policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[],
            names_which_can_be_offloaded=list(config.remat_names),
            offload_src=_DEVICE,
            offload_dst=_HOST,
        )
    return policies.nothing_saveable
