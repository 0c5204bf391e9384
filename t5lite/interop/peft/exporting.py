"""An adapter to a folder that ``peft.PeftModel.from_pretrained`` loads over the model that was adapted."""

import math
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from t5lite.core.errors import UserError
from t5lite.core.files import new_directory, write_json
from t5lite.core.registry import lookup
from t5lite.core.storage.addresses import place
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.interop.departure import DTYPES, Cast, Export, on_host
from t5lite.interop.finiteness import check_finite
from t5lite.interop.huggingface.exporting import model_tensors
from t5lite.interop.huggingface.families import family_of
from t5lite.interop.huggingface.tensor_rules import Tensor
from t5lite.interop.peft import prompts
from t5lite.interop.peft.described import MARK, TASKS, WEIGHTS
from t5lite.interop.peft.modules import PREFIX, kernel_modules, module_of, shortest_names
from t5lite.interop.safetensors_files import Output, write_file
from t5lite.interop.trees import flatten, listed
from t5lite.models.config import ModelConfig
from t5lite.models.layers.low_rank import LowRankKernel
from t5lite.models.layers.prompted import Prompt


def export_folder(
    params: Tree,
    config: ModelConfig,
    out_dir: str | os.PathLike[str],
    *,
    vocabulary: Vocabulary | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    base: str | None = None,
    base_export: str | None = None,
) -> Export:
    """Write an adapter alone: adapter_config.json and adapter_model.safetensors.

    Kernels that one module holds there (GPT-2's ``c_attn``) and that are several here become one update of
    the ranks' sum, whose B is zero but for each kernel's own block: it computes the same. A module that was
    trained whole besides is one of ``modules_to_save``.

    Args:
      params: of the model, with a ``LowRankKernel`` for every kernel that is adapted or a ``Prompt`` besides,
        an array for what else was trained, and a ``ShapeDtypeStruct`` for what was not.
      config: the model that was adapted.
      out_dir: a new or empty directory.
      vocabulary: not written: it is the base's.
      dtype: of the written weights, a key of ``DTYPES``.
      overwrite: replace ``out_dir`` if it is such a folder, with nothing in it but what was exported.
      base: what adapter_config.json names as the model that was adapted: a folder, or a name of a hub.
      base_export: the command that writes that model, for the user.

    Raises:
      UserError: for a model that transformers does not have, an unknown ``dtype``, an ``out_dir`` that is not
        empty, or what PEFT has no place for.
      CheckpointError: if what was trained is not finite.
    """
    del vocabulary
    out_dir = place(out_dir)
    cast = Cast(np.dtype(lookup(DTYPES, dtype, kind="export dtype")))
    leaves = dict(flatten(params))
    is_prompt = any(isinstance(leaf, Prompt) for leaf in leaves.values())
    arrays, described = (prompts.contents if is_prompt else _contents)(leaves, config)
    described |= {"task_type": TASKS.get(config.architecture), "base_model_name_or_path": base}
    described["inference_mode"] = True
    output = Output(WEIGHTS, tuple((name, array.shape) for name, array in arrays.items()))
    with new_directory(out_dir, overwrite=overwrite, mark=MARK) as folder:
        write_file(folder, output, cast.dtype, ((name, cast(name, each)) for name, each in arrays.items()))
        write_json(folder / MARK, described)
    cast.warn()
    num_params = sum(array.size for array in arrays.values())
    return Export(
        folder=out_dir,
        files=(MARK, WEIGHTS),
        num_params=num_params,
        num_bytes=num_params * cast.dtype.itemsize,
        overflows=cast.overflows,
        class_name=family_of(config).class_name(config),
        after_loading=f"BASE is made by `{base_export}`" if base is None and base_export else "",
    )


def _contents(leaves: Mapping[str, Any], config: ModelConfig) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors and the description of low-rank updates; errors as of ``export_folder``."""
    modules = {
        module: tensor
        for module, tensor in kernel_modules(config).items()
        if any(isinstance(leaves[part.path], LowRankKernel) for part in tensor.parts)
    }
    saved = _saved_modules(config, leaves)
    check_finite(_trained(leaves))
    factors = {module: _factors(tensor, leaves) for module, tensor in modules.items()}
    scale = next(leaf.scale for leaf in leaves.values() if isinstance(leaf, LowRankKernel))
    arrays = {
        f"{PREFIX}{module}.lora_{name}.weight": array
        for module, pair in factors.items()
        for name, array in zip("AB", pair, strict=True)
    }
    for tensor in (tensor for tensors in saved.values() for tensor in tensors):
        arrays[f"{PREFIX}{tensor.name}"] = tensor.pack(
            [on_host(leaves[part.path], part.layer) for part in tensor.parts]
        )
    described = _described(config, {module: len(a_RI) for module, (a_RI, _) in factors.items()}, scale)
    described["fan_in_fan_out"] = not any(tensor.transposed for tensor in modules.values())
    described["modules_to_save"] = [*saved] or None
    return arrays, described


def how_to_load(done: Export, folder: str) -> list[str]:
    """Return how the folder is loaded, in lines of Python; ``folder`` is how it is written there."""
    lines = [f"peft.PeftModel.from_pretrained({done.class_name}.from_pretrained(BASE), {folder})"]
    return [*lines, done.after_loading] if done.after_loading else lines


def _described(config: ModelConfig, ranks: Mapping[str, int], scale: float) -> dict[str, Any]:
    """Return adapter_config.json's content, with ``lora_alpha`` for the rank that most modules have."""
    every = kernel_modules(config)
    rank, _ = Counter(ranks.values()).most_common(1)[0]
    others: dict[str, int] = {}
    for other in {*ranks.values()} - {rank}:
        names = shortest_names([name for name, each in ranks.items() if each == other], every)
        others |= dict.fromkeys(names, other)
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": _alpha(scale, rank),
        "rank_pattern": others,
        "alpha_pattern": {name: _alpha(scale, other) for name, other in others.items()},
        "target_modules": shortest_names(ranks, every),
        "use_rslora": False,
        "lora_dropout": 0.0,
        "bias": "none",
        "init_lora_weights": True,
    }


def _alpha(scale: float, rank: int) -> float | int:
    """Return what PEFT divides by the rank, as an integer where it is one."""
    alpha = scale * rank
    return round(alpha) if math.isclose(alpha, round(alpha), rel_tol=1e-12) else alpha


def _factors(tensor: Tensor, leaves: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return A ``[rank, inputs]`` and B ``[outputs, rank]`` of a module, which may hold several kernels."""
    pairs = [_pair(leaves[part.path], part.layer) for part in tensor.parts]
    rank = sum(len(pair[0]) for pair in pairs if pair is not None)
    b_OR = np.zeros((sum(part.shape[-1] for part in tensor.parts), rank), np.float32)
    row = column = 0
    for part, pair in zip(tensor.parts, pairs, strict=True):
        outputs = part.shape[-1]
        if pair is not None:
            own = len(pair[0])
            b_OR[row : row + outputs, column : column + own] = pair[1]
            column += own
        row += outputs
    return np.concatenate([pair[0] for pair in pairs if pair is not None]), b_OR


def _pair(leaf: Any, layer: int | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return A ``[rank, inputs]`` and B ``[outputs, rank]`` of one layer; None of what is not adapted."""
    if not isinstance(leaf, LowRankKernel):
        return None
    return on_host(leaf.a_IR, layer).T, on_host(leaf.b_RO, layer).T


def _saved_modules(config: ModelConfig, leaves: Mapping[str, Any]) -> dict[str, list[Tensor]]:
    """Return the modules that were trained whole, each with its tensors.

    Raises:
      UserError: naming what has no place in PEFT's ``modules_to_save``.
    """
    tensors = model_tensors(config)
    by_module: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        by_module.setdefault(module_of(tensor.name), []).append(tensor)
    shared = {*family_of(config).copies(config).values()}
    saved, refused = {}, []
    for module, own in by_module.items():
        whole = [_is_whole(leaves[part.path]) for tensor in own for part in tensor.parts]
        if not any(whole):
            continue
        if all(whole) and not shared.intersection(tensor.name for tensor in own):
            saved[module] = own
        else:
            refused.append(module)
    if refused:
        raise UserError(
            f"PEFT has no place for what was trained whole of {listed(refused, 8)}: a module is saved with "
            "all of its parameters, and none that another one shares; export the whole model by --format "
            "huggingface"
        )
    return saved


def _is_whole(leaf: Any) -> bool:
    return not isinstance(leaf, LowRankKernel | jax.ShapeDtypeStruct)


def _trained(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays that were trained, by path."""
    trained: dict[str, Any] = {}
    for path, leaf in leaves.items():
        if isinstance(leaf, LowRankKernel):
            trained |= {f"{path}_lora/a": leaf.a_IR, f"{path}_lora/b": leaf.b_RO}
        elif _is_whole(leaf):
            trained[path] = leaf
    return trained
