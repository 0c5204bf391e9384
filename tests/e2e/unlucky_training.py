"""``t5lite train`` of several processes on which misfortunes fall: saves that fail, examples that are NaN.

Arguments: as JSON, of each process, the steps whose saves find no space, and for what ("file", "folder"); the
first and the last poisoned place; and those of ``t5lite``.
"""

import errno
import json
import os
import resource
import sys
import time

import jax

from t5lite.checkpointing.manager import Checkpoints
from t5lite.cli.main import main
from tests.e2e.poisoned_training import poison

_FILE_BYTES = 4000
"""Bytes that a file of a full disk may have."""


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_saves(of_process: dict[str, dict[str, str]]) -> None:
    """Let files or folders be refused from when one of these saves begins until the next does."""
    save, make_folder = Checkpoints.save, os.mkdir
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def unlucky(self, step, *arguments, **options):
        self.wait()
        refused = of_process.get(str(jax.process_index()), {}).get(str(step))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES if refused == "file" else soft, hard))
        os.mkdir = refuse if refused == "folder" else make_folder
        started = save(self, step, *arguments, **options)
        while self._manager.is_saving_in_progress():  # so that the next step finds out, on a busy machine too
            time.sleep(0.01)
        return started

    Checkpoints.save = unlucky


if __name__ == "__main__":
    fail_saves(json.loads(sys.argv[1]))
    poison(int(sys.argv[2]), int(sys.argv[3]))
    sys.exit(main(sys.argv[4:]))
