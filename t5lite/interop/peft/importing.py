"""A folder that ``peft`` saved, to low-rank updates of a model's kernels."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop.finiteness import NonFinite
from t5lite.interop.huggingface.families import family_of
from t5lite.interop.huggingface.family import Values
from t5lite.interop.huggingface.stored_tensors import Stored
from t5lite.interop.huggingface.tensor_rules import Part, Tensor
from t5lite.interop.peft.described import MARK, WEIGHTS, check_keys, described, stored, values_of
from t5lite.interop.peft.modules import PREFIX, kernel_modules
from t5lite.interop.trees import Shape, flatten, listed, refuse_misfits
from t5lite.models.config import ModelConfig
from t5lite.models.functional import build

_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")
TYPE = "LORA"
_UNHEEDED = {
    *("exclude_modules", "fan_in_fan_out", "layers_pattern", "layers_to_transform", "target_modules"),
    *("alpha_pattern", "lora_alpha", "lora_dropout", "r", "rank_pattern", "use_rslora"),
    *("eva_config", "megatron_core", "qalora_group_size"),
}
"""Keys that are read elsewhere, say what the tensors say, or nothing of what is computed."""
_VALUES: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none",),
    # The others (pissa, olora, loftq, …) change the weights that the adapter lies beside.
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}
"""Of other keys; one that is in neither must say nothing."""
MERGING = (
    "merge it into its base with peft's merge_and_unload(), save that with save_pretrained(), and import that"
)


@dataclass(frozen=True, kw_only=True)
class LowRankUpdates:
    """Updates ``scale A B`` of kernels, all of one rank."""

    rank: int
    scale: float
    dropout: float
    factors: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """A ``[…, inputs, rank]`` and B ``[…, rank, outputs]`` by the path of the kernel, layers in front."""
    without: tuple[str, ...]
    """Modules of layers that the folder has no update of, although their kernel has one: it is zero."""


def read_updates(folder: Path, config: ModelConfig) -> LowRankUpdates:
    """Return the updates in a folder, of the kernels of the model that was adapted.

    Updates of a lower rank than others are filled up with zeros, and those of another scale have it in B.
    Kernels that are one module there have their part of its B each, and of its A what that meets.

    Args:
      folder: with adapter_config.json and adapter_model.safetensors.
      config: the model that was adapted.

    Raises:
      UserError: for an adapter of another kind, of a higher rank than a kernel, or tensors that no kernel
        here has, by name.
      CheckpointError: if a file is missing or damaged, or tensors do not fit or are not finite.
    """
    content = described(folder)
    check_keys(content, unheeded=_UNHEEDED, values=_VALUES, remedy=MERGING)
    values = values_of(content)
    pairs = _pairs(stored(folder), config)
    scales = {module: _scale(values, module, len(a_RI)) for module, (_, a_RI, _) in pairs.items()}
    updates = {module: [*_of_kernels(*pair)] for module, pair in pairs.items()}
    rank = max(len(a_RI) for each in updates.values() for _, a_RI, _ in each)
    scale, _ = Counter(scales.values()).most_common(1)[0]
    shapes: dict[str, Shape] = {path: leaf.shape for path, leaf in flatten(build(config).abstract_params)}
    factors: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for module, of_kernels in updates.items():
        for part, a_RI, b_OR in of_kernels:
            *layers, inputs, outputs = shapes[part.path]
            if part.path not in factors:
                _check_rank(rank, part.path, inputs, outputs)
                sizes = ((*layers, inputs, rank), (*layers, rank, outputs))
                factors[part.path] = (np.zeros(sizes[0], np.float32), np.zeros(sizes[1], np.float32))
            a, b = factors[part.path]
            place = () if part.layer is None else (part.layer,)
            a[(*place, slice(None), slice(len(a_RI)))] = a_RI.T
            b[(*place, slice(len(a_RI)))] = b_OR.T * (scales[module] / scale)
    without = [
        name
        for name, tensor in kernel_modules(config).items()
        if name not in pairs and any(part.path in factors for part in tensor.parts)
    ]
    dropout = values.number("lora_dropout", 0.0)
    return LowRankUpdates(rank=rank, scale=scale, dropout=dropout, factors=factors, without=tuple(without))


def _of_kernels(
    tensor: Tensor, a_RI: np.ndarray, b_OR: np.ndarray
) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
    """Yield A and B of each kernel of a module, without the ranks that are nothing to it.

    An export of several kernels has the ranks of each one apart, and B zero at all others.
    """
    blocks = np.split(b_OR, np.cumsum([part.shape[-1] for part in tensor.parts])[:-1])
    is_whole = len(blocks) == 1 or not b_OR.any()  # a B that is not trained yet tells nothing apart
    for part, block_OR in zip(tensor.parts, blocks, strict=True):
        own_R = block_OR.any(axis=0) | is_whole
        if own_R.any():
            yield part, a_RI[own_R], block_OR[:, own_R]


def _check_rank(rank: int, path: str, inputs: int, outputs: int) -> None:
    if rank > min(inputs, outputs):
        raise UserError(
            f"the adapter is of rank {rank}, as all its kernels are here, which is more than {path} has of "
            f"{inputs} inputs and {outputs} outputs; {MERGING}"
        )


def _scale(values: Values, module: str, rank: int) -> float:
    """Return what a module's A B is multiplied by there."""
    pattern = values.part("alpha_pattern")
    # As peft's get_pattern_key: the first that the name ends with counts.
    key = next((key for key in values.get("alpha_pattern", {}) if _ends(module, key)), None)
    alpha = values.number("lora_alpha", 8) if key is None else pattern.number(key)
    if not (rank and 0 < alpha < math.inf):
        name = "lora_alpha" if key is None else f"alpha_pattern.{key}"
        raise CheckpointError(
            f"{MARK}: {name}={alpha} at a rank of {rank} means no update of {module}; it must be "
            "above 0, at a rank of at least 1: save the adapter again"
        )
    return alpha / (math.sqrt(rank) if values.flag("use_rslora", False) else rank)


def _ends(module: str, pattern: str) -> bool:
    try:
        return re.match(rf"(.*\.)?({pattern})$", module) is not None
    except re.error as error:
        raise CheckpointError(
            f"{MARK}: alpha_pattern has {pattern!r}, which is no regular expression ({error}); correct it"
        ) from error


def _pairs(
    tensors: Mapping[str, Stored], config: ModelConfig
) -> dict[str, tuple[Tensor, np.ndarray, np.ndarray]]:
    """Return the tensor of every module that is adapted, A ``[rank, inputs]`` and B ``[outputs, rank]``."""
    modules, prefix = kernel_modules(config), family_of(config).prefix
    found: dict[str, dict[str, Stored]] = {}
    unknown: list[str] = []
    for name, tensor in tensors.items():
        match = _FACTOR.fullmatch(name.removeprefix(PREFIX))
        names = _names(match["module"], prefix) if match else ()
        module = next((each for each in names if each in modules), None)
        if match is None or module is None:
            unknown.append(name)
        else:
            found.setdefault(module, {})[match["factor"]] = tensor
    if unknown:
        raise UserError(
            f"{WEIGHTS} has {len(unknown)} tensors that adapt no kernel of the base: {listed(unknown, 8)}; "
            f"give the base that they were trained beside, or {MERGING}"
        )
    if not found:
        raise CheckpointError(f"{WEIGHTS} has no tensors; save the adapter again with save_pretrained")
    _check_shapes(found, modules)
    nonfinite = NonFinite()
    pairs = {}
    for module, factors in found.items():
        a_RI, b_OR = (factors[name].whole.astype(np.float32) for name in "AB")
        nonfinite.see(f"{module}.lora_A", a_RI)
        nonfinite.see(f"{module}.lora_B", b_OR)
        pairs[module] = (modules[module], a_RI, b_OR)
    nonfinite.refuse("the adapter is not imported", "take one of before its training diverged")
    return pairs


def _names(module: str, prefix: str) -> tuple[str, ...]:
    """Return what a module may be called here: a class without its head has names without the prefix."""
    return (module, f"{prefix}{module}", module.removeprefix(prefix))


def _check_shapes(found: Mapping[str, Mapping[str, Stored]], modules: Mapping[str, Tensor]) -> None:
    """Check that every module has an A and a B, of its inputs and outputs and of one rank.

    Raises:
      CheckpointError: listing what is missing or misshapen.
    """
    missing = [f"{module}.lora_{each}" for module, pair in found.items() for each in "AB" if each not in pair]
    misshapen = []
    for module, pair in found.items():
        shape = modules[module].shape
        outputs, inputs = shape if modules[module].transposed else shape[::-1]
        rank = next(iter(pair["A"].shape), 0) if "A" in pair else 0
        wanted = {"A": (rank, inputs), "B": (outputs, rank)}
        misshapen += [
            f"{module}.lora_{each} {tensor.shape} instead of {wanted[each]}"
            for each, tensor in pair.items()
            if len(pair) == 2 and tensor.shape != wanted[each]
        ]
    refuse_misfits("the adapter does not fit its base", missing=missing, unexpected=(), wrong_shape=misshapen)
