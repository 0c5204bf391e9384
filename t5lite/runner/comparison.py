"""Several runs side by side, from what their files tell; nothing is computed again but scores of texts."""

import functools
import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5lite.core.bounded_reads import open_regular
from t5lite.core.errors import DataError
from t5lite.core.json_text import parse_json
from t5lite.core.storage.addresses import StoragePath
from t5lite.evaluation.metrics.bootstrap import Difference, difference
from t5lite.evaluation.metrics.corpus_metric import CorpusMetric
from t5lite.evaluation.scoring import find_metric
from t5lite.models.parameter_count import count_parameters
from t5lite.runner.measurements import Measured, measurements
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.status import State, run_status

_BYTES = {"float32": 4, "bfloat16": 2}
BITS_PER_BYTE = "bits_per_byte"
"""What compares models of different vocabularies."""
_DONE: tuple[State, ...] = ("finished", "ended", "unknown")
_LEAST_PAIRS = 2
_SPEEDS = 20
"""Of so many newest entries the middle speed is told: the first ones of an attempt are slower."""


@dataclass(frozen=True)
class ComparedRun:
    """What a run's files tell of it; None is what they do not.

    Attributes:
      run: as it was given.
      num_parameters: of the model.
      parameter_bytes: in their dtype.
      step: newest that is known.
      training_flops: model FLOPs of all its steps, of this run alone; as many as one step of today's has.
      tokens_per_second: in training, on ``num_devices``.
      num_devices: of the newest attempt.
      evaluations: what was measured, by the names of evaluations, as of ``measurements``.
      lacks: what is not recorded or not done yet, a line each, with how to have it.
    """

    run: str
    num_parameters: int
    parameter_bytes: int
    step: int | None
    training_flops: float | None
    tokens_per_second: float | None
    num_devices: int | None
    evaluations: Mapping[str, tuple[Measured, ...]]
    lacks: tuple[str, ...]


def read_run(run: str) -> ComparedRun:
    """Return what the files of a run tell.

    Raises:
      ConfigError: if there is no run, or its model.json is damaged.
      DataError: if its metrics or records cannot be read.
    """
    found = Snapshot(RunDirectory.at(run))
    directory, described, entries = found.directory, found.model, found.metrics
    number = count_parameters(described.config)
    train = [each for each in entries if each["kind"] == "train"]
    starts = [each for each in entries if each["kind"] == "start"]
    start = starts[-1] if starts else {}
    # What stands there of the run that it went on from was done on that one's devices.
    own = [each for each in train if not starts or each["step"] > starts[0]["step"]]
    evaluations = measurements(found)
    speeds = [each["tokens_per_second"] for each in own[-_SPEEDS:] if each.get("tokens_per_second")]
    flops = _training_flops(own, start)
    lacks = _undone(run) if found.has_config else []
    if flops is None:
        lacks.append(f"{run}: training FLOPs are not recorded (no metrics of a training here)")
    elif directory.initialized_from_file.is_file():
        lacks.append(f"{run}: its FLOPs are without those of the training that its parameters come from")
    if not any(each.intervals for measured in evaluations.values() for each in measured):
        lacks.append(f"{run}: no metric has an interval; `t5lite evaluate --run {run} --task …` measures one")
    return ComparedRun(
        run=run,
        num_parameters=number,
        parameter_bytes=number * _BYTES[described.execution.param_dtype],
        step=max((each["step"] for each in train), default=None),
        training_flops=flops,
        tokens_per_second=statistics.median(speeds) if speeds else None,
        num_devices=start.get("devices"),
        evaluations=evaluations,
        lacks=tuple(lacks),
    )


def _training_flops(train: Sequence[Mapping[str, Any]], start: Mapping[str, Any]) -> float | None:
    """Return steps times the FLOPs of one, which MFU tells: it is a step's FLOPs by what devices could do."""
    peak, devices = start.get("peak_flops_per_second"), start.get("devices")
    for entry in reversed(train):
        mfu, seconds = entry.get("mfu"), entry.get("step_seconds")
        if peak and devices and mfu and seconds:
            return entry["step"] * mfu * peak * devices * seconds
    return None


def _undone(run: str) -> list[str]:
    """Return what to say of a run that is not at its end, where its files tell."""
    status = run_status(run)
    if status.state in _DONE or status.total_steps is None:
        return []
    return [f"{run}: its training is {status.state}, at step {status.step:,} of {status.total_steps:,}"]


def are_comparable(first: Measured, second: Measured, metric: str | None) -> bool:
    """Whether figures of two evaluations are of the same examples, and texts written by the same search.

    Args:
      first: of one run.
      second: of another one.
      metric: whose figures; those of texts are also where the same texts were predicted out of other stores,
        and bits per byte may be where vocabularies differ, and so the stores of one text, if what is asked of
        it is the same.

    Raises:
      DataError: if a file of predictions is damaged.
    """
    if find_metric(metric or "") and first.decoding != second.decoding:
        return False
    if first.is_of_same_data(second):
        return True
    if metric == BITS_PER_BYTE and first.vocabulary != second.vocabulary:
        return first.is_asked_alike(second)
    return isinstance(find_metric(metric or ""), CorpusMetric) and _same_texts(first, second)


def paired_difference(first: Measured, second: Measured, metric: str) -> Difference | None:
    """Return how much better the first run is by a metric, if both wrote predictions for the same examples.

    Raises:
      DataError: if a file of predictions is damaged.
    """
    scorer = find_metric(metric)
    if not isinstance(scorer, CorpusMetric) or not _same_texts(first, second):
        return None
    samples = []
    for measured in (first, second):
        texts = () if measured.predictions is None else _texts(measured.predictions)
        if len(texts) < _LEAST_PAIRS:
            return None
        sample, _ = scorer.measured([text for *_, text in texts], [references for _, references, _ in texts])
        samples.append(sample)
    return difference(*samples)


def _same_texts(first: Measured, second: Measured) -> bool:
    """Whether both have predictions, of the same inputs and references."""
    if first.predictions is None or second.predictions is None:
        return False
    return _digest(first.predictions) == _digest(second.predictions)


@functools.cache
def _digest(path: StoragePath) -> str:
    """Return what tells the inputs and references of a file from those of another one."""
    return hashlib.sha256(json.dumps([each[:2] for each in _texts(path)]).encode()).hexdigest()


def _texts(path: StoragePath) -> list[tuple[str, tuple[str, ...], str]]:
    """Return input, references and prediction of each example."""
    try:
        if isinstance(path, Path):
            with open_regular(path) as stream:
                lines = stream.read().splitlines()
        else:
            lines = path.read_bytes().splitlines()
        records = [parse_json(line) for line in lines if line.strip()]
        return [
            (each["input"], (each["reference"], *each.get("other_references", ())), each["prediction"])
            for each in records
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and run `t5lite evaluate` again") from error
