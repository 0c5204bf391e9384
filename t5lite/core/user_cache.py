"""Where results are kept that would only be computed again: nothing is lost when it is deleted or missing."""

import os
from pathlib import Path


def user_cache(name: str) -> Path | None:
    """Return ``$XDG_CACHE_HOME/t5lite/NAME``, by default below ``~/.cache``; None for a user without a home.

    It may be missing, and may be impossible to make or to write to.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        root = Path(given) if given else Path.home() / ".cache"
    except RuntimeError:  # neither HOME nor an entry in the system's list of users
        return None
    return root / "t5lite" / name
