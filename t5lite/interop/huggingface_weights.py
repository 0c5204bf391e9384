"""Parameters of the encoder-decoder as the tensors of transformers' T5ForConditionalGeneration, and back.

A parameter here is one array with its layers stacked in front and its axes apart (``[N, D, H, K]``);
there it is one matrix a layer, in torch's ``[out, in]`` order with heads and kv merged.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np

from t5lite.core.errors import CheckpointError
from t5lite.core.types import Tree
from t5lite.models.config import EncoderDecoderConfig
from t5lite.models.functional import build

logger = logging.getLogger(__name__)

SHARED, HEAD = "shared.weight", "lm_head.weight"
_COPIES_OF_SHARED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# Left in the first published T5 checkpoints; the model never read it, and transformers drops it as well.
_NEVER_USED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
_SHOWN = 8


class _Name(NamedTuple):
    """A tensor's name, with ``{}`` for the layer; and how many leading axes of a kernel are its input."""

    template: str
    input_axes: int | None = None  # None: the same array there, not a kernel


def _sublayer(ours: str, norm: str, theirs: str, index: int, module: str) -> dict[str, _Name]:
    """Return the names of one residual branch and its norm in every layer of a stack."""
    stack = ours.partition("/")[0]
    names = {f"{stack}/layers/{norm}/scale": _Name(f"{theirs}.layer.{index}.layer_norm.weight")}
    kernels = (
        {"wi": ("wi", 1), "wi_0": ("wi_0", 1), "wi_1": ("wi_1", 1), "wo": ("wo", 1)}
        if module == "DenseReluDense"
        else {"query": ("q", 1), "key": ("k", 1), "value": ("v", 1), "out": ("o", 2)}
    )
    for kernel, (short, input_axes) in kernels.items():
        names[f"{ours}/{kernel}"] = _Name(f"{theirs}.layer.{index}.{module}.{short}.weight", input_axes)
    return names


def _stack(stack: str) -> dict[str, _Name]:
    block = f"{stack}.block.{{}}"
    relpos = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    return {
        f"{stack}/final_norm/scale": _Name(f"{stack}.final_layer_norm.weight"),
        f"{stack}/relpos_bias/embedding": _Name(relpos),
    } | (
        _sublayer("encoder/layers/self_attention", "self_attention_norm", block, 0, "SelfAttention")
        | _sublayer("encoder/layers/mlp", "mlp_norm", block, 1, "DenseReluDense")
        if stack == "encoder"
        else _sublayer("decoder/layers/self_attention", "self_attention_norm", block, 0, "SelfAttention")
        | _sublayer("decoder/layers/cross_attention", "cross_attention_norm", block, 1, "EncDecAttention")
        | _sublayer("decoder/layers/mlp", "mlp_norm", block, 2, "DenseReluDense")
    )


_NAMES: dict[str, _Name] = {
    "token_embedder/embedding": _Name(SHARED),
    "logits/kernel": _Name(HEAD, 1),
    **_stack("encoder"),
    **_stack("decoder"),
}


class _Leaf(NamedTuple):
    """One parameter of a given model: where it is, and how its tensors are named and shaped."""

    path: tuple[str, ...]
    shape: tuple[int, ...]
    name: _Name

    @property
    def layer_shape(self) -> tuple[int, ...]:
        return self.shape[1:] if "{}" in self.name.template else self.shape

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        if (inputs := self.name.input_axes) is None:
            return self.layer_shape
        return (math.prod(self.layer_shape[inputs:]), math.prod(self.layer_shape[:inputs]))

    @property
    def tensor_names(self) -> list[str]:
        template = self.name.template
        return [template.format(i) for i in range(self.shape[0])] if "{}" in template else [template]


def _leaves(config: EncoderDecoderConfig) -> list[_Leaf]:
    flat = _flatten(build(config).abstract_params)
    return [_Leaf(path, leaf.shape, _NAMES["/".join(path)]) for path, leaf in flat]


def _flatten(tree: Tree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(tree, Mapping):
        yield path, tree
        return
    for name, child in tree.items():
        yield from _flatten(child, (*path, name))


def state_dict_from_params(params: Tree, config: EncoderDecoderConfig) -> dict[str, np.ndarray]:
    """Return ``params`` as the tensors of ``T5ForConditionalGeneration``, each contiguous, dtypes kept.

    A tied model has no ``lm_head.weight``, an untied one has; ``shared.weight`` stands for both stacks'.

    Raises:
      CheckpointError: if ``params`` do not have the structure and shapes of ``config``.
    """
    leaves = _leaves(config)
    found = dict(_flatten(params))
    expected = {"/".join(leaf.path): leaf.shape for leaf in leaves}
    _check_fit("parameters", expected, {"/".join(path): np.shape(leaf) for path, leaf in found.items()})
    tensors: dict[str, np.ndarray] = {}
    for leaf in leaves:
        value = np.asarray(jax.device_get(found[leaf.path]))
        layers = value.reshape(len(leaf.tensor_names), *leaf.layer_shape)
        for name, layer in zip(leaf.tensor_names, layers, strict=True):
            if leaf.name.input_axes is not None:
                layer = layer.reshape(leaf.tensor_shape[::-1]).T
            # safetensors writes the memory as it lies: a transposed view would come out scrambled.
            tensors[name] = np.ascontiguousarray(layer)
    return tensors


def params_from_state_dict(tensors: Mapping[str, np.ndarray], config: EncoderDecoderConfig) -> Tree:
    """Return the nested dict of NumPy parameters, in ``config.param_dtype``, that ``tensors`` describe.

    Copies of ``shared.weight`` under its other names must equal it. An untied model without
    ``lm_head.weight`` gets a copy of ``shared.weight`` there, which computes the same (transformers 5
    writes such checkpoints when it trains a T5 1.1 from scratch). Nothing else is skipped or made up.

    Raises:
      CheckpointError: listing missing, unexpected and misshapen tensors by name and shape, copies that
        differ, and tensors that are not of a floating-point type.
    """
    leaves = _leaves(config)
    tensors = _without_copies(tensors, config)
    expected = {name: leaf.tensor_shape for leaf in leaves for name in leaf.tensor_names}
    _check_fit("tensors", expected, {name: tensor.shape for name, tensor in tensors.items()})
    dtype = np.dtype(ml_dtypes.bfloat16 if config.param_dtype == "bfloat16" else np.float32)
    params: dict[str, Any] = {}
    for leaf in leaves:
        layers = np.empty((len(leaf.tensor_names), *leaf.layer_shape), dtype)
        for i, name in enumerate(leaf.tensor_names):
            tensor = tensors[name] if leaf.name.input_axes is None else tensors[name].T
            layers[i] = tensor.reshape(leaf.layer_shape)
        parent = params
        for part in leaf.path[:-1]:
            parent = parent.setdefault(part, {})
        parent[leaf.path[-1]] = layers.reshape(leaf.shape)
    return params


def has_own_head(tensors: Mapping[str, np.ndarray]) -> bool:
    """Return whether there is an ``lm_head.weight`` that differs from the embedding table."""
    table = next((tensors[name] for name in (SHARED, *_COPIES_OF_SHARED) if name in tensors), None)
    return HEAD in tensors and table is not None and not np.array_equal(tensors[HEAD], table)


def _without_copies(tensors: Mapping[str, np.ndarray], config: EncoderDecoderConfig) -> dict[str, np.ndarray]:
    """Return the tensors under one name each, after checking that copies are copies."""
    kept = dict(tensors)
    for name, tensor in kept.items():
        if tensor.dtype.name not in ("float32", "float16", "bfloat16", "float64"):
            raise CheckpointError(
                f"{name} has dtype {tensor.dtype.name}; allowed: float32, float16, bfloat16, float64 "
                "(a quantized checkpoint cannot be imported)"
            )
    copies = [*_COPIES_OF_SHARED, HEAD] if config.tie_embeddings else [*_COPIES_OF_SHARED]
    for name in copies:
        # safetensors keeps one of several names of one tensor, and it need not be the first.
        if (tensor := kept.pop(name, None)) is None:
            continue
        if not np.array_equal(kept.setdefault(SHARED, tensor), tensor):
            raise CheckpointError(
                f"{name} differs from {SHARED}, of which it must be a copy in a T5"
                + (" with tied embeddings" if name == HEAD else "")
            )
    if not config.tie_embeddings and HEAD not in kept and SHARED in kept:
        logger.warning("no %s in a model with unscaled logits: starting it as a copy of %s", HEAD, SHARED)
        kept[HEAD] = kept[SHARED]
    if kept.pop(_NEVER_USED, None) is not None:
        logger.info("dropped %s, which no T5 reads", _NEVER_USED)
    return kept


def _check_fit(
    kind: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    complaints = {
        "missing": [f"{name} {shape}" for name, shape in expected.items() if name not in found],
        "unexpected": [f"{name} {shape}" for name, shape in found.items() if name not in expected],
        "wrong shape": [
            f"{name} {found[name]} instead of {shape}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ],
    }
    if not any(complaints.values()):
        return
    phrases = []
    for what, names in complaints.items():
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            phrases.append(f"{what}: {', '.join(names[:_SHOWN])}{more}")
    raise CheckpointError(f"the {kind} do not fit the model configuration; {'; '.join(phrases)}")
