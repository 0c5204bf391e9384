"""Commands that run in one process: what they say where a run of several would be expected."""

import sys

from t5lite.partitioning import multihost


def say_so() -> None:
    """Write one line to standard error where several processes are usual; call before asking for devices."""
    if note := multihost.one_process_note():
        print(f"t5lite: {note}", file=sys.stderr)
