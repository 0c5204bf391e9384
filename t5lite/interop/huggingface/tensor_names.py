"""From the names in a file to those of a family's rules: what is renamed or left out."""

import logging
import re
from collections.abc import Mapping

from t5lite.core.errors import CheckpointError
from t5lite.interop.huggingface.family import Family
from t5lite.interop.huggingface.refusals import refuse_adapter_tensors
from t5lite.interop.huggingface.stored_tensors import Stored
from t5lite.interop.trees import listed

logger = logging.getLogger(__name__)

_WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, DataParallel, FSDP and activation checkpointing put into names, at any depth."""


def canonical_names(tensors: Mapping[str, Stored], family: Family) -> dict[str, Stored]:
    """Return the tensors by the names that the family's rules use, buffers left out.

    Raises:
      CheckpointError: if two tensors have one name there.
      UserError: if there are tensors of an adapter.
    """
    refuse_adapter_tensors(tensors)
    wrapped = [name for name in tensors if _unwrapped(name) != name]
    if wrapped:
        found = sorted({part for name in wrapped for part in name.split(".")} & set(_WRAPPERS))
        logger.info("left %s out of %d names", ", ".join(found), len(wrapped))
    renamed: dict[str, Stored] = {}
    original: dict[str, str] = {}
    for stored_name, tensor in tensors.items():
        name = _unwrapped(stored_name)
        for pattern, replacement in family.renames:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise CheckpointError(
                f"{original[name]} and {stored_name} are two names of one tensor; keep the one that is meant"
            )
        renamed[name], original[name] = tensor, stored_name
    if family.prefix and not any(name.startswith(family.prefix) for name in renamed):
        # Saved as the model without its head, whose names begin one level further down.
        renamed = {
            name if name.startswith(family.heads) else family.prefix + name: tensor
            for name, tensor in renamed.items()
        }
    ignored = _matching(renamed, family.ignorable)
    if ignored:
        logger.info("left out %d buffers, which hold no weights: %s", len(ignored), listed(ignored, 8))
    return {name: tensor for name, tensor in renamed.items() if name not in ignored}


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _matching(names: Mapping[str, object], patterns: tuple[str, ...]) -> list[str]:
    return [name for name in names if any(re.fullmatch(pattern, name) for pattern in patterns)]
