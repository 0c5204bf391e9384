"""What keeps a model from being one that a format has."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from t5lite.models.config import TransformerConfig


def differences(config: TransformerConfig, allowed: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """Return a phrase for every part of ``config`` that is none of those allowed.

    Args:
      config: the model.
      allowed: values by field, or by a field of one (``mlp.bias``). A class allows all of its values; if it
        is another one, its fields are not asked.
    """
    phrases: dict[str, str] = {}
    for name, choices in allowed.items():
        if any(name.startswith(f"{wrong}.") for wrong in phrases):
            continue
        value = attrgetter(name)(config)
        if not any(value == choice or type(value) is choice for choice in choices):
            said = " or ".join(
                choice.__name__ if isinstance(choice, type) else repr(choice) for choice in choices
            )
            phrases[name] = f"{name}={value!r} (only {said})"
    return list(phrases.values())
