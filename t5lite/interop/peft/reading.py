"""A folder that ``peft`` saved, of whichever kind its adapter is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from t5lite.core.errors import UserError
from t5lite.interop.peft import importing, prompts
from t5lite.interop.peft.described import MARK, described
from t5lite.models.config import ModelConfig

_READERS: Mapping[str, Callable[[Path, ModelConfig], importing.LowRankUpdates | prompts.VirtualTokens]] = {
    importing.TYPE: importing.read_updates,
    prompts.TYPE: prompts.read_prompt,
}
"""By what adapter_config.json calls them."""


def base_name(folder: Path) -> str | None:
    """Return what a folder names as the model that was adapted; errors as of ``read_adapter``."""
    _kind(folder)
    return described(folder).get("base_model_name_or_path")


def read_adapter(folder: Path, config: ModelConfig) -> importing.LowRankUpdates | prompts.VirtualTokens:
    """Return the adapter in a folder.

    Args:
      folder: with adapter_config.json and adapter_model.safetensors.
      config: the model that was adapted.

    Raises:
      UserError: for an adapter that has no counterpart here.
      CheckpointError: if a file is missing or damaged, or does not fit.
    """
    return _READERS[_kind(folder)](folder, config)


def _kind(folder: Path) -> str:
    """Return a key of ``_READERS``.

    Raises:
      UserError: for another kind.
    """
    kind: Any = described(folder).get("peft_type")
    if kind in _READERS:
        return kind
    raise UserError(
        f"{MARK}: peft_type={kind!r} is not supported; allowed: {', '.join(map(repr, _READERS))}; "
        f"{importing.MERGING}"
    )
