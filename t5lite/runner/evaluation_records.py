"""What evaluations of a run measured, kept: one file for each step, store and way of measuring.

Of an evaluation with a task, all predictions lie beside it, a JSON object a line, under the same name.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from t5lite.core.errors import UserError
from t5lite.core.files import write_json, write_text
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.storage.addresses import StoragePath
from t5lite.evaluation.metrics.score import Score
from t5lite.runner.evaluation import Evaluation
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.scorer import samples

VERSIONS = Versions({0: unchanged, 1: unchanged, 2: unchanged})
"""Of these files."""
_DIGITS = 8


def store_evaluation(run: str | os.PathLike[str], result: Evaluation) -> StoragePath:
    """Write the result into the run directory and return its file, ``evaluations/STEP-STORE-DIGEST.json``.

    The digest is of the store's whole path and of all settings, so that only the same measurement made again
    replaces a file. ``evaluation.json`` gets the newest result too.

    Raises:
      UserError: if it cannot be written, after the others of these files were tried.
    """
    directory = RunDirectory.at(run)
    record = VERSIONS.stamped(_record(result))
    path = directory.evaluations / f"{_name(result)}.json"
    writes: dict[StoragePath, Callable[[StoragePath], None]] = {}
    if result.predictions:  # first: who finds the record finds them
        text = prediction_lines(result)
        writes[predictions_file(path)] = lambda file: write_text(file, text)
    writes |= dict.fromkeys((path, directory.evaluation_file), lambda file: write_json(file, record))
    failures = []
    for file, write in writes.items():
        try:
            write(file)
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError(f"the result above is not stored: {'; '.join(failures)}")
    return path


def predictions_file(record: StoragePath) -> StoragePath:
    """Return where the predictions of the evaluation with this record are."""
    return record.with_suffix(".jsonl")


def prediction_lines(result: Evaluation) -> str:
    """Return all predictions of an evaluation, a JSON object a line, which names the evaluation."""
    return "".join(
        json.dumps({"evaluation": result.name, **each}, ensure_ascii=False) + "\n"
        for each in result.predictions
    )


def _record(result: Evaluation) -> dict[str, Any]:
    record = {each.name: getattr(result, each.name) for each in dataclasses.fields(result)}
    scores: Mapping[str, Score] = record.pop("scores")
    del record["predictions"]
    return {
        **record,
        "robustness": {name: dataclasses.asdict(each) for name, each in result.robustness.items()},
        "intervals": {name: dataclasses.asdict(s.interval) for name, s in scores.items() if s.interval},
        "signatures": {name: score.signature for name, score in scores.items() if score.signature},
        "samples": samples(result.predictions),
    }


def _name(result: Evaluation) -> str:
    settings: dict[str, Any] = {"store": result.store, **result.settings}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    words = re.sub(r"[^\w.-]+", "_", Path(result.store).name)[:40]
    return f"{result.step}-{words}-{digest}"
