"""Which modules of a transformers model have the kernels of a configuration, as PEFT names them."""

from collections.abc import Collection, Iterable

from t5lite.interop.huggingface.exporting import model_tensors
from t5lite.interop.huggingface.tensor_rules import Tensor
from t5lite.models.config import ModelConfig

PREFIX = "base_model.model."
"""What every name in an adapter's file begins with."""


def module_of(tensor_name: str) -> str:
    """Return the module whose parameter a tensor is."""
    return tensor_name.rpartition(".")[0]


def kernel_modules(config: ModelConfig) -> dict[str, Tensor]:
    """Return the tensors of two axes by their modules: what PEFT can adapt, tables among them.

    Raises:
      UserError: if no class of transformers is a model of ``config``.
    """
    return {
        module_of(tensor.name): tensor
        for tensor in model_tensors(config)
        if len(tensor.shape) == 2 and tensor.name.endswith(".weight")
    }


def shortest_names(chosen: Iterable[str], every: Collection[str]) -> list[str]:
    """Return the shortest ends of names that are of ``chosen`` alone, in PEFT's sense of ``target_modules``.

    A name there is of every module that has it, or ends with it behind a dot: ``q`` is every attention's.

    Args:
      chosen: modules.
      every: all modules, these among them.
    """
    chosen = [*chosen]
    others = [f".{name}" for name in {*every}.difference(chosen)]
    ends: dict[str, None] = {}
    for name in chosen:
        parts = name.split(".")
        for start in reversed(range(len(parts))):
            end = ".".join(parts[start:])
            if start == 0 or not any(other.endswith(f".{end}") for other in others):
                ends[end] = None
                break
    return [*ends]
