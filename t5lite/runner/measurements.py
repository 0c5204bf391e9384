"""What evaluations of a run found, and of which data: only what was measured alike can be compared."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from t5lite.core.errors import DataError, UserError
from t5lite.core.json_text import load_json
from t5lite.core.storage.addresses import StoragePath
from t5lite.evaluation.metrics.score import Interval
from t5lite.runner.averages import Average
from t5lite.runner.evaluation import OF_TEXTS
from t5lite.runner.evaluation_records import predictions_file
from t5lite.runner.heldout import example_settings
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.store_contents import contents_from_json
from t5lite.tasks.opening import open_task

_ANOTHER_STORE = "store"
"""In how examples are made, what is compared by itself."""
_ASKED = ("kind", "objective", "head")
"""In how examples are made, what says of what kind a loss is."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one evaluation found."""

    step: int
    """Of the checkpoint."""
    store: str | None = None
    """What was measured on; None where nothing tells."""
    vocabulary: str = ""
    """Fingerprint of the model's."""
    contents: str | None = None
    """Digest of it; None of older records."""
    num_examples: int | None = None
    """How many of it; None of evaluations of a training, which tell their limit alone."""
    max_examples: int | None = None
    """The limit."""
    average: Average | None = None
    """What was measured in place of the parameters of the checkpoint."""
    task: str | None = None
    """By which text that was generated was scored, if any was."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """How that text was written, by the task's options; empty of greedy search."""
    weights: str | None = None
    """As what kernels were held, where not as they were saved."""
    examples: Mapping[str, Any] = field(default_factory=dict)
    """How examples are made of the store, by setting; empty of older records."""
    metrics: Mapping[str, float]
    """By name."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Of those that have one."""
    predictions: StoragePath | None = None
    """File of all predictions, if there is one."""

    def is_of_same_data(self, other: "Measured") -> bool:
        """Whether the examples are known to be the same."""
        if self.store is None or other.store is None:
            return False
        if self.contents is not None and other.contents is not None:
            same_store = self.contents == other.contents
        else:
            same_store = self.store == other.store
        if self.num_examples is None or other.num_examples is None:
            same_number = self.max_examples == other.max_examples
        else:
            same_number = self.num_examples == other.num_examples
        return same_store and same_number and self._is_made_alike(other, self.examples)

    def is_asked_alike(self, other: "Measured") -> bool:
        """Whether, as far as both tell, data are of one kind and objective, and models of one head."""
        return self._is_made_alike(other, _ASKED)

    def _is_made_alike(self, other: "Measured", settings: Iterable[str]) -> bool:
        return all(
            self.examples[name] == other.examples[name]
            for name in settings
            if name in self.examples and name in other.examples
        )

    def describe(self, beside: Iterable["Measured"]) -> str:
        """Return what it is of, with those settings of its examples that ``beside`` have otherwise."""
        if self.num_examples is not None:
            number = f"{self.num_examples:,} examples"
        elif self.max_examples is not None:
            number = f"at most {self.max_examples:,} examples"
        else:
            number = "all examples"
        weights = {None: "", "ema": ", the moving average"}.get(self.average, f", average {self.average}")
        others = [each.examples for each in beside]
        made: dict[str, Any] = {
            name: value
            for name, value in self.examples.items()
            if any(name in each and each[name] != value for each in others)
        }
        if self.decoding:
            made["decoding"] = self.decoding
        listed = "".join(f", {name}={json.dumps(value)}" for name, value in made.items())
        store = "a store that is not recorded" if self.store is None else self.store
        digest = "" if self.contents is None else f", digest {self.contents[:8]}"
        return f"step {self.step:,}{weights}: {store} ({number}{digest}{listed})"


def measurements(found: Snapshot) -> dict[str, tuple[Measured, ...]]:
    """Return all that a run's files tell of its evaluations, by their names.

    First are those that the training made, in its order; then others of held-out data by their names, and
    last those of files of texts.

    What ``t5lite evaluate`` recorded comes first, the newest step, of that the most examples, and of
    these greedy search; then the newest that the training measured, which has no interval. What was measured
    of rounded weights is left out: it is of another model.

    Raises:
      DataError: if a record or the metrics file is damaged.
    """
    recorded, trained = _recorded(found), _in_training(found)
    others = sorted(recorded.keys() - trained.keys(), key=lambda name: (name in OF_TEXTS, name))
    vocabulary = found.model.vocabulary.fingerprint
    return {
        name: tuple(
            dataclasses.replace(each, vocabulary=vocabulary)
            for each in (*recorded.get(name, ()), *([trained[name]] if name in trained else ()))
        )
        for name in (*trained, *others)
    }


def _recorded(found: Snapshot) -> dict[str, list[Measured]]:
    folder, recorded = found.directory.evaluations, dict[str, list[Measured]]()
    files = folder.iterdir() if folder.is_dir() else ()
    for file in sorted((each for each in files if each.suffix == ".json"), key=lambda each: each.name):
        name, measured = _record(file)
        if measured.weights is None:
            recorded.setdefault(name, []).append(measured)
    for records in recorded.values():
        records.sort(key=lambda each: (each.step, each.num_examples or 0, not each.decoding), reverse=True)
    return recorded


def _in_training(found: Snapshot) -> dict[str, Measured]:
    newest = {entry["evaluation"]: entry for entry in found.metrics if entry["kind"] == "eval"}
    return {name: _of_training(found, name, entry) for name, entry in newest.items()}


def _of_training(found: Snapshot, name: str, entry: Mapping[str, Any]) -> Measured:
    """Return what an entry of the metrics file tells, and the run's configuration where it can be read."""
    measured = Measured(
        step=entry["step"],
        metrics={
            metric: float(value)
            for metric, value in entry.items()
            if metric not in ("step", "examples_seen") and isinstance(value, int | float)
        },
    )
    try:
        if not found.has_config or name not in found.config.evaluations:
            return measured
        evaluation, examples = found.config.evaluations[name], example_settings(found.config, name)
    except UserError:
        return measured
    return dataclasses.replace(
        measured,
        store=evaluation.store,
        contents=_contents(found).get(f"evaluations.{name}.store"),
        max_examples=evaluation.max_examples,
        average=evaluation.average,
        task=evaluation.task,
        decoding=_decoding(evaluation.task),
        examples=_settings(examples),
    )


def _decoding(task: str | None) -> Mapping[str, Any]:
    """Return how text was written in training; of an older run the task may be a file that is gone."""
    try:
        return {} if task is None else open_task(task).decoding
    except UserError:
        return {}


def _contents(found: Snapshot) -> Mapping[str, str]:
    """Return the digests of the stores, by field, as the newest checkpoint tells them."""
    try:
        return contents_from_json(found.metadata(found.steps[-1])) if found.steps else {}
    except (UserError, ValueError):
        return {}


def _record(file: StoragePath) -> tuple[str, Measured]:
    """Return the name of the evaluation in a file, and what it measured."""
    try:
        content = load_json(file)
        settings = content.get("settings", {})
        measured = Measured(
            step=content["step"],
            store=content["store"],
            contents=content.get("contents"),
            num_examples=content["num_examples"],
            max_examples=settings.get("max_examples"),
            average=settings.get("average"),
            task=settings.get("task"),
            decoding=settings.get("decoding", {}),
            weights=settings.get("weights"),
            examples=_settings(settings.get("data", {})),
            metrics={name: float(value) for name, value in content["metrics"].items() if value is not None},
            intervals={name: Interval(**each) for name, each in content.get("intervals", {}).items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is damaged ({error}); delete it and run `t5lite evaluate` again") from error
    predictions = predictions_file(file)
    if predictions.is_file():
        measured = dataclasses.replace(measured, predictions=predictions)
    return content.get("name", "heldout"), measured


def _settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return how examples are made, as JSON has it."""
    return {name: value for name, value in json.loads(json.dumps(data)).items() if name != _ANOTHER_STORE}
