"""Checks that the parts of a configuration share."""

import math
from typing import Any

from t5lite.core.errors import ConfigError, suggestion

LARGEST_SIZE = (1 << 31) - 1
"""Of one dimension of an array: its indices have 32 bits, and beyond that compilers end without a word."""


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Check that a value is one of those allowed.

    Raises:
      ConfigError: naming the nearest.
    """
    if value not in allowed:
        raise ConfigError(f"unknown {name}={value!r}{suggestion(str(value), allowed)}")


def check_positive(config: Any, *names: str, within: str = "") -> None:
    """Check that fields of a configuration are sizes that an array can have, at least 1, or None.

    Args:
      config: a model's, or a part of it.
      names: of the fields.
      within: what names of that part's fields begin with in a model (``norm.``).

    Raises:
      ConfigError: naming the first that is not.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ConfigError(f"{within}{name}={value} must be at least 1")
        if value is not None and value > LARGEST_SIZE:
            raise ConfigError(f"{within}{name}={value} must be at most {LARGEST_SIZE}, JAX's largest index")


def check_finite(config: Any, *names: str, within: str = "") -> None:
    """Check that fields of a configuration are positive and finite, or None; arguments as above.

    Raises:
      ConfigError: naming the first that is not.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0.0 < value < math.inf:
            raise ConfigError(f"{within}{name}={value} must be positive and finite")
