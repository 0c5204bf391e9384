"""A profiler trace of a few steps, for XProf / TensorBoard."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax

from t5lite.core.storage.addresses import StoragePath
from t5lite.core.storage.objects import upload_folder


class ProfilerWindow:
    """Traces the steps ``start_step .. start_step + num_steps - 1`` into ``directory``.

    Of a directory in a bucket, the trace is written on the local disk and copied when it ends.

    Args:
      directory: receives ``plugins/profile/...``.
      start_step: the first step that is traced, counted from 0; None traces nothing.
      num_steps: how many.
    """

    def __init__(self, directory: StoragePath, *, start_step: int | None, num_steps: int) -> None:
        self._directory = directory
        self._start_step = start_step
        self._stop_step = None if start_step is None else start_step + num_steps
        self._tracing = False
        self._local: Path | None = None

    def before(self, step: int) -> None:
        """Start tracing if ``step`` is the first of the window."""
        if step == self._start_step:
            if not isinstance(self._directory, Path):
                self._local = Path(tempfile.mkdtemp(prefix="t5lite-"))
            jax.profiler.start_trace(str(self._local or self._directory))
            self._tracing = True

    def after(self, step: int, outputs: Any) -> bool:
        """Stop if ``step`` was the last of the window, once ``outputs`` are there; return whether it was."""
        if self._stop_step is None or not self._tracing or step + 1 < self._stop_step:
            return False
        jax.block_until_ready(outputs)
        self.close()
        return True

    def close(self) -> None:
        """Stop a trace under way."""
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
        if self._local is not None and not isinstance(self._directory, Path):
            upload_folder(self._local, self._directory)
            shutil.rmtree(self._local, ignore_errors=True)
            self._local = None
