"""adapter_config.json, read strictly, and the tensors beside it."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop.huggingface.family import Values
from t5lite.interop.huggingface.stored_tensors import Stored, check_floating, open_safetensors, read_json

MARK = "adapter_config.json"
"""File by which such a folder is known."""
WEIGHTS = "adapter_model.safetensors"
TASKS = {"encoder_decoder": "SEQ_2_SEQ_LM", "decoder_only": "CAUSAL_LM"}
"""PEFT's class of a model that generates, by architecture; of others it does nothing that is needed here."""
SAID_ELSEWHERE = {
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision"),
    *("runtime_config", "task_type"),
}
"""Keys that every kind has, which say nothing of what is computed, or are read elsewhere."""


def described(folder: Path) -> dict[str, Any]:
    """Return the content of adapter_config.json.

    Raises:
      CheckpointError: if it is missing or damaged.
    """
    return read_json(folder / MARK)


def values_of(content: Mapping[str, Any]) -> Values:
    """Return what reads that content by key."""
    return Values(content, file=MARK)


def check_keys(
    content: Mapping[str, Any],
    *,
    unheeded: Collection[str],
    values: Mapping[str, tuple[Any, ...]],
    remedy: str,
) -> None:
    """Check that adapter_config.json describes nothing but what there is here.

    Args:
      content: of the file.
      unheeded: keys that are read elsewhere, say what the tensors say, or nothing of what is computed.
      values: what other keys may be; one that is in neither must say nothing.
      remedy: what to do.

    Raises:
      UserError: naming the first key that says something else.
    """
    for key, value in content.items():
        if key in unheeded or key in SAID_ELSEWHERE or (not value and key not in values):
            continue
        if value is not None and value not in (allowed := values.get(key, ("nothing",))):
            choices = ", ".join(map(repr, allowed)) if key in values else "no such key"
            raise UserError(f"{MARK}: {key}={value!r} is not supported; allowed: {choices}; {remedy}")


def stored(folder: Path) -> dict[str, Stored]:
    """Return the tensors of an adapter.

    Raises:
      CheckpointError: if they are missing, damaged or no floats.
    """
    if not (folder / WEIGHTS).is_file() and (folder / "adapter_model.bin").is_file():
        raise CheckpointError(
            f"{folder} has its adapter in adapter_model.bin, which cannot be read safely; load it with peft "
            "and write it with save_pretrained"
        )
    tensors = open_safetensors(folder / WEIGHTS)
    check_floating(tensors)
    return tensors
