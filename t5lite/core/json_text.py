"""JSON of unknown origin."""

import json
from typing import Any


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return what ``json.loads`` does.

    Raises:
      ValueError: if it is not JSON, also where Python raises RecursionError for what is nested too deeply.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None
