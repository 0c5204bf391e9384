"""A save that fails in one of several processes fails in all of them, at once.

In the background of a save, Orbax's processes wait for one another twice: before the leader puts the
checkpoint in place, and after it. One that fails does not come there, so that the others wait for twenty
minutes, and it for them at the end of the save. Here it comes, late, after it has said that it failed.
"""

import itertools
import re

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint._src.futures.signaling_client import get_signaling_client

_POINTS = ("async_write_complete", "async_commit_complete")
"""Orbax's names of where the processes meet in the background."""
_AFTERWORD = re.compile(r" \[(?:os_error_code|source locations|tensorstore_spec)=")
_TIMEOUT_MS = 1_200_000
"""Orbax's own: for a process that still writes."""


class SaveBarrier:
    """Orbax's ``barrier_sync_fn`` in a run of several processes; all of them make the same saves."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        self._wait = ocp.multihost.get_barrier_sync_fn()
        self._number, self._num_met = 0, 0

    def begin(self) -> None:
        """Count the next save."""
        self._number, self._num_met = next(self._numbers), 0

    def __call__(self, *, key: str, timeout_ms: int) -> None:
        """Wait for the other processes.

        Raises:
          RuntimeError: if a part of this save has failed in one of them.
        """
        if not any(point in key for point in _POINTS):
            self._wait(key=key, timeout_ms=timeout_ms)
            return
        self._meet(timeout_ms)
        failures = get_signaling_client().key_value_dir_get(self._folder)
        if failures:
            process, cause = min((int(name.rpartition("/")[2]), cause) for name, cause in failures)
            raise RuntimeError(f"process {process}: {cause}")

    def fail(self, error: BaseException) -> None:
        """Tell the others that this process's part of the save has failed, and meet them nevertheless."""
        get_signaling_client().key_value_set(f"{self._folder}{jax.process_index()}", cause_of(error))
        while self._num_met < len(_POINTS):
            self._meet(_TIMEOUT_MS)

    def _meet(self, timeout_ms: int) -> None:
        self._num_met += 1
        self._wait(key=f"{self._folder}{self._num_met}", timeout_ms=timeout_ms)

    @property
    def _folder(self) -> str:
        return f"t5lite/save/{self._number}/"


def cause_of(error: BaseException) -> str:
    """Return what is wrong in the words of the storage layer, on one line."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    # TensorStore names the files that it writes to before it says what is wrong, and its own lines after it.
    return (_AFTERWORD.split(text.rpartition('": ')[2])[0] or text)[:200]
