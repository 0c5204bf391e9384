"""The folder of what is between raw files and stores: of which job it is, and what of it can be kept."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_pipelines.manifest import versions
from data_pipelines.options import Cleaning, PipelineOptions
from t5lite.core import files
from t5lite.core.errors import UserError
from t5lite.core.json_text import parse_json
from t5lite.core.storage.addresses import storage_address
from t5lite.data.reading.input_files import InputFiles
from t5lite.data.vocabulary import Vocabulary

_JOB = "job.json"
_IN_WORK = (
    _JOB,
    "marks",
    "read",
    "documents",
    "bands",
    "spans",
    "pairs",
    "near_duplicates.npy",
    "repeated",
    "kept",
    "sample",
    "vocabulary",
    "tokens",
)
"""All that the steps leave in the work folder."""
_NOT_THE_JOB = ("inputs", "output", "vocabulary", "workers", "ray", "work", "keep_work", "overwrite")
"""Options that may differ when a job goes on, or that the job knows by their content."""
_LATE_STEPS: Mapping[str, tuple[str, ...]] = {
    "keep": ("heldout_fraction",),
    "sample": ("vocabulary_sample_mib",),
    "vocabulary": ("vocabulary_size", "character_coverage"),
    "tokenise": ("extra_ids",),
}
"""Steps that are done again, with those after them, if the options that they alone depend on are others."""
_FOLDERS = {"keep": "kept", "sample": "sample", "vocabulary": "vocabulary", "tokenise": "tokens"}


def job_of(
    options: PipelineOptions, cleaning: Cleaning, inputs: InputFiles, vocabulary: Vocabulary | None
) -> dict[str, Any]:
    """Return what decides the content of the work folder, that of the late steps by step."""

    def identity(path: str) -> list[Any]:
        local = storage_address(path) is None
        return [path, *((os.stat(path).st_size, os.stat(path).st_mtime_ns) if local else ())]

    chosen = {name: value for name, value in asdict(options).items() if name not in _NOT_THE_JOB}
    late = {step: {name: chosen.pop(name) for name in names} for step, names in _LATE_STEPS.items()}
    late["vocabulary"]["vocabulary"] = None if vocabulary is None else vocabulary.fingerprint
    return {
        "inputs": [identity(path) for path in inputs.paths],
        "options": chosen,
        "cleaning": repr(cleaning),
        "versions": versions(),
        **late,
    }


def open_work_folder(work: Path, job: dict[str, Any]) -> None:
    """Make the work folder, or make it that of ``job``: steps that are not those of the job go.

    Raises:
      UserError: if not even the cleaned documents can be kept.
    """
    path = work / _JOB
    if not path.exists():
        files.check_new_directory(work)
        files.write_json(path, job)
        return
    before = _read_job(path)
    now = json.loads(json.dumps(job))
    changed = [name for name in now if before.get(name) != now[name]]
    if others := [name for name in changed if name not in _LATE_STEPS]:
        raise UserError(
            f"{work} holds what is finished of another job (other {', '.join(others)}); delete it, or "
            "choose another folder by --work"
        )
    if changed:
        steps = list(_LATE_STEPS)
        again = steps[steps.index(changed[0]) :]
        print(f"{work}: what comes before the step {again[0]} is kept, for its options are the same")
        for step in again:
            shutil.rmtree(work / "marks" / step, ignore_errors=True)
            shutil.rmtree(work / _FOLDERS[step], ignore_errors=True)
        files.write_json(path, job)


def _read_job(path: Path) -> dict[str, Any]:
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete {path.parent}, or choose another folder by --work"
        ) from error


def delete_work_folder(work: Path) -> None:
    """Delete what the job wrote in its work folder, and the folder if nothing else is in it."""
    others = []
    for path in sorted(work.iterdir()):
        if path.name not in _IN_WORK:
            others.append(path.name)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if others:
        print(
            f"t5lite prepare: {work} is kept for what is not of this job: {', '.join(others)}",
            file=sys.stderr,
        )
    else:
        work.rmdir()
