"""What evaluations of a run measured, kept: one file for each step, store and way of measuring."""

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from t5lite.core.errors import UserError
from t5lite.core.files import write_json
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.storage.addresses import StoragePath
from t5lite.runner.evaluation import Evaluation
from t5lite.runner.run_directory import RunDirectory

VERSIONS = Versions({0: unchanged, 1: unchanged})
"""Of these files."""
_DIGITS = 8


def store_evaluation(run: str | os.PathLike[str], result: Evaluation) -> StoragePath:
    """Write the result into the run directory and return its file, ``evaluations/STEP-STORE-DIGEST.json``.

    The digest is of the store's whole path and of all settings, so that only the same measurement made again
    replaces a file. ``evaluation.json`` gets the newest result too.

    Raises:
      UserError: if it cannot be written, after the other of the two was tried.
    """
    directory = RunDirectory.at(run)
    record = VERSIONS.stamped(dataclasses.asdict(result))
    path = directory.evaluations / f"{_name(result)}.json"
    failures = []
    for file in (path, directory.evaluation_file):
        try:
            write_json(file, record)
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError(f"the result above is not stored: {'; '.join(failures)}")
    return path


def _name(result: Evaluation) -> str:
    settings: dict[str, Any] = {"store": result.store, **result.settings}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    words = re.sub(r"[^\w.-]+", "_", Path(result.store).name)[:40]
    return f"{result.step}-{words}-{digest}"
