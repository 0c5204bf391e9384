"""A T5X checkpoint as a configuration and parameters here."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

from t5lite.core.types import Tree
from t5lite.interop.arrival import Placement, arrive, shardings_of
from t5lite.interop.finiteness import NonFinite
from t5lite.interop.t5x.checkpoint import open_checkpoint
from t5lite.interop.t5x.mapping import GatedActivation, infer_config, match, stack_layouts
from t5lite.models.config import Dtype, EncoderDecoderConfig, RelativePositions
from t5lite.models.functional import build

logger = logging.getLogger(__name__)


def import_folder(
    path: str | Path,
    *,
    param_dtype: Dtype = "float32",
    partitioner: Placement = None,
    activation: GatedActivation | None = None,
    check: Callable[[EncoderDecoderConfig], None] = lambda _: None,
) -> tuple[EncoderDecoderConfig, Tree]:
    """Return the configuration and the nested dict of parameters of a T5X checkpoint, its optimizer left out.

    The checkpoint is T5X's own, of version 2 or 3, or Orbax's; its layers scanned or not. It says nothing of
    the positions' max_distance, the norm's epsilon and the activation: they are T5's (128, 1e-6, ReLU or
    gated GELU), as in T5 1.0 and 1.1, LM-adapted, Flan-T5, mT5, ByT5 and umT5. UL2 and Flan-UL2 have SwiGLU,
    whose leaves look the same: ``activation`` must say so. Besides the parameters themselves no more is in
    memory than one piece of one leaf (``interop.arrival``).

    Args:
      path: a ``checkpoint_<step>`` directory, the file ``checkpoint`` in it, or a directory of several, of
        which the newest is read.
      param_dtype: dtype of the parameters.
      partitioner: lays every parameter out on its mesh as it is read; "fitting" takes all devices, sharded
        where they divide a parameter; None returns NumPy arrays.
      activation: of an MLP with two input kernels; None takes gated GELU.
      check: what else is to be checked before values are read: it may raise.

    Raises:
      CheckpointError: if a file is missing or damaged, the model is no encoder-decoder T5, or leaves are
        missing, unexpected, misshapen or not finite.
      UserError: for an ``activation`` of an MLP with one input kernel.
      ConfigError: if the mesh does not divide the heads.
    """
    checkpoint = open_checkpoint(path)
    logger.info("reading %s (%s)", checkpoint.path, checkpoint.layout)
    leaves = {name: opened() for name, opened in checkpoint.target.items()}
    stacks = stack_layouts(leaves)
    config = infer_config(leaves, stacks, activation=activation)
    model = build(config)
    paths, structure = jax.tree_util.tree_flatten_with_path(model.abstract_params)
    shapes = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in paths}
    sources = match(leaves, stacks, shapes, config.head_dim)
    check(config)
    placed = shardings_of(model, partitioner)
    shardings = [None] * len(paths) if placed is None else jax.tree.leaves(placed)
    logger.info(
        "taken: %d leaves of target, %s parameters; left out: %s",
        len(leaves),
        f"{model.num_params:,}",
        _summary(checkpoint.left),
    )
    logger.info(
        "assumed, as T5X does not say: positions.max_distance=%d, norm.epsilon=%g%s",
        RelativePositions().max_distance,
        config.norm.epsilon,
        "" if activation else f", mlp.activation={config.mlp.activation}",
    )
    dtype = jnp.dtype(param_dtype)
    found = NonFinite()
    arrays = [
        arrive(sources[name], dtype=dtype, sharding=sharding, see=partial(found.see, name))
        for name, sharding in zip(shapes, shardings, strict=True)
    ]
    found.refuse(f"the parameters of {checkpoint.path} are not imported", "take an earlier checkpoint")
    return config, jax.tree.unflatten(structure, arrays)


def _summary(names: Sequence[str]) -> str:
    """Return names by their first two parts with counts: ``state/step, state/param_states (250 leaves)``."""
    groups = Counter("/".join(name.split("/")[:2]) for name in names)
    return ", ".join(f"{name} ({n} leaves)" if n > 1 else name for name, n in groups.items()) or "nothing"
