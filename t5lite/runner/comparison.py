"""Several runs side by side, from what their files tell; nothing is computed again but scores of texts."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t5lite.core.bounded_reads import open_regular
from t5lite.core.errors import DataError
from t5lite.core.json_text import load_json, parse_json
from t5lite.core.storage.addresses import StoragePath
from t5lite.evaluation.metrics import METRICS
from t5lite.evaluation.metrics.bootstrap import Difference, difference
from t5lite.evaluation.metrics.corpus_metric import CorpusMetric
from t5lite.evaluation.metrics.score import Interval
from t5lite.models.parameter_count import count_parameters
from t5lite.runner.evaluation_records import predictions_file
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.metrics_log import METRICS_FILE, read_metrics

_BYTES = {"float32": 4, "bfloat16": 2}
_SPEEDS = 20
"""Of so many newest entries the middle speed is told: the first ones of an attempt are slower."""


@dataclass(frozen=True)
class Measured:
    """What one evaluation of a run found.

    Attributes:
      step: of the checkpoint.
      store: what was measured on.
      num_examples: how many of it.
      metrics: by name.
      intervals: of those that have one.
      predictions: file of all predictions, if there is one.
    """

    step: int
    store: str
    num_examples: int | None
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    predictions: StoragePath | None = None


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
      evaluations: the newest of each name and store.
      lacks: what is not recorded, a line each, with how to have it.
    """

    run: str
    num_parameters: int
    parameter_bytes: int
    step: int | None
    training_flops: float | None
    tokens_per_second: float | None
    num_devices: int | None
    evaluations: Mapping[str, Measured]
    lacks: tuple[str, ...]


def read_run(run: str) -> ComparedRun:
    """Return what the files of a run tell.

    Raises:
      ConfigError: if there is no run, or its model.json is damaged.
      DataError: if its metrics or records cannot be read.
    """
    directory = RunDirectory.at(run)
    described = directory.read_model_file()
    number = count_parameters(described.config)
    entries = read_metrics(directory.path / METRICS_FILE)
    train = [each for each in entries if each["kind"] == "train"]
    start = next((each for each in reversed(entries) if each["kind"] == "start"), {})
    evaluations = {**_in_training(entries), **_recorded(directory)}
    speeds = [each["tokens_per_second"] for each in train[-_SPEEDS:] if each.get("tokens_per_second")]
    flops = _training_flops(train, start)
    lacks = []
    if flops is None:
        lacks.append(f"{run}: training FLOPs are not recorded (no metrics of a training here)")
    elif directory.initialized_from_file.is_file():
        lacks.append(f"{run}: its FLOPs are without those of the training that its parameters come from")
    if not any(each.intervals for each in evaluations.values()):
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


def _in_training(entries: Iterable[Mapping[str, Any]]) -> dict[str, Measured]:
    """Return the newest evaluation of each name that a training made; it has no interval."""
    found = {}
    for entry in entries:
        if entry["kind"] == "eval":
            numbers = {
                name: float(value)
                for name, value in entry.items()
                if name not in ("step", "examples_seen") and isinstance(value, int | float)
            }
            found[entry["evaluation"]] = Measured(entry["step"], "", None, numbers)
    return found


def _recorded(directory: RunDirectory) -> dict[str, Measured]:
    """Return the newest record of each evaluation; of one step, the one of most examples."""
    if not directory.evaluations.is_dir():
        return {}
    found: dict[str, Measured] = {}
    for file in sorted(directory.evaluations.iterdir(), key=lambda path: path.name):
        if file.suffix != ".json":
            continue
        name, measured = _record(file)
        known = found.get(name)
        if known is None or _order(measured) >= _order(known):
            found[name] = measured
    return found


def _order(measured: Measured) -> tuple[int, int]:
    return measured.step, measured.num_examples or 0


def _record(file: StoragePath) -> tuple[str, Measured]:
    try:
        content = load_json(file)
        intervals = {name: Interval(**each) for name, each in content.get("intervals", {}).items()}
        numbers = {name: float(value) for name, value in content["metrics"].items() if value is not None}
        measured = Measured(
            content["step"], content["store"], content["num_examples"], numbers, intervals, None
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is damaged ({error}); delete it and run `t5lite evaluate` again") from error
    predictions = predictions_file(file)
    if predictions.is_file():
        measured = dataclasses.replace(measured, predictions=predictions)
    return content.get("name", "heldout"), measured


def paired_difference(first: Measured, second: Measured, metric: str) -> Difference | None:
    """Return how much better the first run is by a metric, if both wrote predictions for the same examples.

    Raises:
      DataError: if a file of predictions is damaged.
    """
    scorer = METRICS.get(metric)
    if not isinstance(scorer, CorpusMetric) or first.predictions is None or second.predictions is None:
        return None
    mine, theirs = _texts(first.predictions), _texts(second.predictions)
    if [each[:2] for each in mine] != [each[:2] for each in theirs] or len(mine) < 2:
        return None
    samples = []
    for texts in (mine, theirs):
        sample, _ = scorer.measured([text for *_, text in texts], [reference for _, reference, _ in texts])
        samples.append(sample)
    return difference(*samples)


def _texts(path: StoragePath) -> list[tuple[str, str, str]]:
    """Return input, reference and prediction of each example."""
    try:
        if isinstance(path, Path):
            with open_regular(path) as stream:
                lines = stream.read().splitlines()
        else:
            lines = path.read_bytes().splitlines()
        records = [parse_json(line) for line in lines if line.strip()]
        return [(each["input"], each["reference"], each["prediction"]) for each in records]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and run `t5lite evaluate` again") from error
