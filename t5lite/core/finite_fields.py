"""Numbers of a configuration that must be finite."""

import dataclasses
import math
from typing import Any

from t5lite.core.errors import ConfigError


def require_finite(config: Any, path: str = "") -> None:
    """Refuse NaN and infinity anywhere: NaN passes comparisons that mean to refuse it.

    Args:
      config: a dataclass, with others in it.
      path: what its fields begin with in messages.

    Raises:
      ConfigError: naming a field that holds either.
    """
    for each in dataclasses.fields(config):
        name, value = path + each.name, getattr(config, each.name)
        if dataclasses.is_dataclass(value):
            require_finite(value, f"{name}.")
        elif isinstance(value, tuple):
            for place, item in enumerate(value):
                if dataclasses.is_dataclass(item):
                    require_finite(item, f"{name}.{place}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name}={value} must be a finite number")
