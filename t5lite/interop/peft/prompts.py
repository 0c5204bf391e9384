"""Prompt tuning as ``peft`` has it: a table of virtual tokens, which stand before the input's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from t5lite.core.errors import UserError
from t5lite.interop.finiteness import NonFinite, check_finite
from t5lite.interop.peft.described import MARK, TASKS, WEIGHTS, check_keys, described, stored, values_of
from t5lite.interop.trees import listed, refuse_misfits
from t5lite.models.config import ModelConfig
from t5lite.models.layers.prompted import Prompt

TYPE = "PROMPT_TUNING"
_TENSOR = "prompt_embeddings"
_UNHEEDED = {
    *("num_attention_heads", "num_layers", "num_transformer_submodules", "num_virtual_tokens", "token_dim"),
    *("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_kwargs", "tokenizer_name_or_path"),
}
_ANEW = "train the prompt anew beside the base (adapter=PromptTuning, docs/adapters.md)"


@dataclass(frozen=True, kw_only=True)
class VirtualTokens:
    """Embeddings that stand before every input."""

    prompt_PD: np.ndarray
    """float32, as the model here puts them in front: times what it multiplies its embeddings by."""
    num_unread: int
    """Rows that the folder has besides, for a decoder, and that peft does not read."""


def contents(leaves: Mapping[str, Any], config: ModelConfig) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors and the description of the ``Prompt`` among parameters.

    Args:
      leaves: of ``export_folder``, by path.
      config: the model that was adapted.

    Raises:
      UserError: for what PEFT has no place for.
      CheckpointError: if the prompt is not finite.
    """
    _check_width(config)
    prompt = next(leaf for leaf in leaves.values() if isinstance(leaf, Prompt))
    if besides := [
        path for path, leaf in leaves.items() if not isinstance(leaf, Prompt | jax.ShapeDtypeStruct)
    ]:
        raise UserError(
            f"PEFT has no place beside a prompt for what was trained besides: {listed(besides, 8)}; evaluate "
            "and generate read the run as it is"
        )
    stack = config.stacks[0]
    check_finite({"prompt": prompt.embedding_PD})
    prompt_PD = np.asarray(prompt.embedding_PD, np.float32) / config.scale_of_embeddings(stack.embed_dim)
    return {_TENSOR: prompt_PD}, {
        "peft_type": TYPE,
        "num_virtual_tokens": len(prompt_PD),
        "token_dim": stack.embed_dim,
        # Of two there, those of the decoder are never read.
        "num_transformer_submodules": 1,
        "num_layers": stack.num_layers,
        "num_attention_heads": config.num_heads,
        "prompt_tuning_init": "RANDOM",
    }


def read_prompt(folder: Path, config: ModelConfig) -> VirtualTokens:
    """Return the virtual tokens in a folder.

    Args:
      folder: with adapter_config.json and adapter_model.safetensors.
      config: the model that was adapted.

    Raises:
      UserError: for a prompt of another kind of model, or what else has no counterpart here.
      CheckpointError: if a file is missing or damaged, or the table does not fit or is not finite.
    """
    content = described(folder)
    values = values_of(content)
    check_keys(content, unheeded=_UNHEEDED, values={}, remedy=_ANEW)
    task, wanted = values.get("task_type"), TASKS.get(config.architecture)
    if task != wanted or wanted is None:
        raise UserError(
            f"{MARK}: task_type={task!r} is not of a model that is {config.architecture}"
            + (f", whose prompt has {wanted!r}" if wanted else "")
            + "; give the base that it was trained beside"
        )
    _check_width(config)
    num = values.integer("num_virtual_tokens")
    submodules = values.integer("num_transformer_submodules", 2 if task == TASKS["encoder_decoder"] else 1)
    shape = (num * submodules, config.stacks[0].embed_dim)
    tensors = stored(folder)
    if unknown := [name for name in tensors if name != _TENSOR]:
        raise UserError(
            f"{WEIGHTS} has {len(unknown)} tensors besides {_TENSOR}: {listed(unknown, 8)}, which have no "
            f"counterpart here; {_ANEW}"
        )
    misfits = [
        f"{name} {tensor.shape} instead of {shape}"
        for name, tensor in tensors.items()
        if tensor.shape != shape
    ]
    refuse_misfits(
        "the prompt does not fit its base",
        missing=[] if tensors else [_TENSOR],
        unexpected=(),
        wrong_shape=misfits,
    )
    prompt_PD = tensors[_TENSOR].whole.astype(np.float32)[:num]
    nonfinite = NonFinite()
    nonfinite.see(_TENSOR, prompt_PD)
    nonfinite.refuse("the prompt is not imported", "take one of before its training diverged")
    scaled_PD = prompt_PD * np.float32(config.scale_of_embeddings(shape[1]))
    return VirtualTokens(prompt_PD=scaled_PD, num_unread=shape[0] - num)


def _check_width(config: ModelConfig) -> None:
    """Check that a virtual token is as wide as a row of the table, beside which PEFT puts it."""
    if config.table_dim is not None:
        raise UserError(
            f"the model's table is {config.table_dim} wide and its layers are {config.embed_dim}: PEFT puts "
            "virtual tokens before the projection between them, t5lite behind it, and neither can be written "
            "as the other"
        )
