"""Predictions beside what came of them: runs that were held out of the fit, and what was written down before.

What ``t5lite scaling fit --predict-run N D … --json`` printed into a file is a prediction that was written
down: its losses are looked up among the runs that have been finished since.
"""

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import StoragePath, not_a_file
from t5lite.scaling.column_names import scale_of
from t5lite.scaling.intervals import Interval
from t5lite.scaling.report.families import Family
from t5lite.scaling.report.reported_run import ReportedRun, number

_NAME = re.compile(r"loss at N=(?P<params>[-+.\de]+), D=(?P<tokens>[-+.\de]+)")
_SAME_PARAMS, _SAME_TOKENS = 0.002, 0.01
"""Of sizes: a run of as many parameters and tokens is the one that a prediction is of; steps are whole."""
_FAMILY = "family"
"""The column that runs are grouped by unless another is named."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A loss that was predicted.

    Attributes:
      family: of the run.
      method: that predicted it.
      params: N.
      tokens: D.
      predicted: loss.
      interval: of it; None without one.
      outcome: the loss that was measured; None if there is no such run yet.
      run: which; empty if there is none.
      origin: where the prediction stands.
    """

    family: str
    method: str
    params: float
    tokens: float
    predicted: float
    interval: Interval | None = None
    outcome: float | None = None
    run: str = ""
    origin: str = ""

    @property
    def missed(self) -> float | None:
        """By how much of the outcome the prediction is off, in per cent."""
        return None if self.outcome is None else 100 * (self.predicted / self.outcome - 1)


def held_out(family: Family) -> list[Prediction]:
    """Return what each law says of the runs that it is not fitted to."""
    return [
        Prediction(
            family=family.name,
            method=analysis.method.name,
            params=each.params,
            tokens=each.tokens,
            predicted=each.predicted,
            interval=each.interval,
            outcome=each.loss,
            run=_run_of(family, params=each.params, tokens=each.tokens, loss=each.loss),
            origin="runs that were held out of the fit",
        )
        for analysis in family.analyses
        for each in analysis.held_out
    ]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A loss that a file predicts: by which method, of which sizes, with its interval, if there is one."""

    method: str
    params: float
    tokens: float
    predicted: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a file predicts for a group of runs.

    Attributes:
      key: the value of the column that rows were grouped by; "" if they were not.
      where: values of columns that rows had to have.
      loss: the column that was fitted.
      told: the losses.
    """

    key: str
    where: Mapping[str, str]
    loss: str
    told: Sequence[Told]

    def __str__(self) -> str:
        asked = [self.key, *(f"{column}={value}" for column, value in self.where.items())]
        return ", ".join(filter(None, asked)) or "a whole table"

    @property
    def scale(self) -> str:
        """Of its losses."""
        return scale_of(self.loss)

    def remedy(self, runs: Sequence[ReportedRun]) -> str:
        """Return what to do where no run has such losses: name the column that has, if there is one."""
        columns = dict.fromkeys(column for run in runs for column in run.row)
        alike = [column for column in columns if scale_of(column) == self.scale]
        if not alike:
            return "no run here has such a column: leave the file out, or give the runs that it is of"
        return f"give --columns loss {shlex.quote(self.loss if self.loss in alike else alike[0])}"

    def families(self, families: Sequence[Family]) -> list[Family]:
        """Return those that have the name that it is of; the only one, where a table was fitted as one."""
        alike = [each for each in families if any(run.scale == self.scale for run in each.runs)]
        for name in [each for each in (self.key, *self.where.values()) if each] or [""]:
            if found := [family for family in alike if name in family.names]:
                return found
        is_whole = not self.key and _FAMILY not in self.where
        return alike if is_whole and len(families) == len(alike) == 1 else []


@dataclass(frozen=True, kw_only=True)
class WrittenDown:
    """What a file predicts."""

    file: StoragePath
    groups: Sequence[Group]

    def check_losses(self, runs: Sequence[ReportedRun]) -> None:
        """Raise a DataError if no run has losses as those that are predicted."""
        known = {run.scale for run in runs}
        for group in self.groups:
            if group.scale not in known:
                raise DataError(
                    f"{self.file} predicts the column {group.loss!r}, and this report is of "
                    f"{', '.join(map(repr, sorted(known)))}; {group.remedy(runs)}"
                )


def read_predictions(file: StoragePath) -> WrittenDown:
    """Return what was predicted before, as ``t5lite scaling fit --json`` printed it.

    Raises:
      DataError: if the file is none.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return WrittenDown(file=file, groups=[_group(key, group) for key, group in content.items()])
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(
            f"{file} {not_a_file(file)}; give a file of what `t5lite scaling fit TABLE --predict-run N D "
            "--json` printed"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{file} is not what `t5lite scaling fit TABLE --predict-run N D --json` prints ({error!r})"
        ) from error


def _group(key: str, group: Mapping[str, Any]) -> Group:
    meant = group.get("meant", group["columns"])
    loss = str(meant.get("loss", "loss"))
    return Group(key=key, where=dict(group.get("where", {})), loss=loss, told=_told(group))


def _told(group: Mapping[str, Any]) -> list[Told]:
    return [
        Told(
            method=method,
            params=float(match["params"]),
            tokens=float(match["tokens"]),
            predicted=float(value),
            interval=_interval(said["intervals"].get(name)),
        )
        for method, said in group["methods"].items()
        for name, value in said["numbers"].items()
        if (match := _NAME.fullmatch(name)) and value is not None
    ]


def with_outcomes(written: WrittenDown, families: Sequence[Family]) -> tuple[list[Prediction], list[str]]:
    """Return the predictions of a file, with the outcomes that are known, and what is to be said of it.

    A file may predict the same sizes for every family; what no run of a family is of is counted only.
    """
    shown: list[Prediction] = []
    notes: list[str] = []
    strange = total = 0
    for group in written.groups:
        named = group.families(families)
        if not named:
            notes.append(
                f"{written.file}: no family here is what it predicts, {group}, by {group.loss!r}; "
                f"predictions that are left out: {len(group.told)}"
            )
            continue
        found = [_with_outcomes(named, each, origin=str(written.file)) for each in group.told]
        total, strange = total + len(found), strange + sum(not each for each in found)
        shown += [each for of_size in found for each in of_size]
    if not total and not notes:
        notes.append(f"{written.file} predicts no run's loss; t5lite scaling fit does by --predict-run N D")
    for count, text in (
        (strange, "sizes that no run here has, and are not shown"),
        (sum(each.outcome is None for each in shown), "runs that are not finished yet, or have no loss"),
    ):
        if count:
            notes.append(f"{written.file}: {count} of {total} predictions are of {text}")
    return shown, notes


def _interval(said: Any) -> Interval | None:
    if said is None or None in (said["low"], said["high"]):
        return None
    return Interval(low=float(said["low"]), high=float(said["high"]), level=float(said["level"]))


def _with_outcomes(families: Sequence[Family], told: Told, *, origin: str) -> list[Prediction]:
    """Return a prediction for each family that has a run of such sizes, or is to have one."""
    found = [(family, _with_outcome(family, told, origin=origin)) for family in families]
    return [each for family, each in found if each.outcome is not None or _is_awaited(family, each)]


def _with_outcome(family: Family, told: Told, *, origin: str) -> Prediction:
    """Return a prediction with what is known of the run of such sizes, if there is one."""
    predicted = Prediction(family=family.name, origin=origin, **vars(told))
    known = family.observations
    far = _apart(known.params, known.tokens, told)
    if not len(far) or far.min() > 1:
        return predicted
    place = int(np.argmin(far))
    found = {name: float(getattr(known, name)[place]) for name in ("params", "tokens", "loss")}
    return replace(predicted, outcome=found["loss"], run=_run_of(family, **found))


def _is_awaited(family: Family, prediction: Prediction) -> bool:
    """Whether a run that has no loss yet is to be of such sizes."""
    params = np.array([run.number("params") for run in family.runs])
    tokens = np.array([run.whole_tokens or run.number("tokens") for run in family.runs])
    return bool((_apart(params, tokens, prediction) <= 1).any())


def _apart(params: np.ndarray, tokens: np.ndarray, told: Told | Prediction) -> np.ndarray:
    """Return how far runs are from the sizes that a prediction is of; up to 1, they have them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far_params = np.abs(np.log(params / told.params)) / _SAME_PARAMS
        far_tokens = np.abs(np.log(tokens / told.tokens)) / _SAME_TOKENS
    return np.maximum(far_params, far_tokens)


def _run_of(family: Family, **numbers: float) -> str:
    """Return the name of the finished run that has these numbers."""
    return next(
        (
            run.name
            for run in family.runs
            if run.is_finished
            for point in run.points
            if all(math.isclose(number(point.get(name)), value) for name, value in numbers.items())
        ),
        "",
    )
