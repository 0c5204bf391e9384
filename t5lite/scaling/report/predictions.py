"""Predictions beside what came of them: runs that were held out of the fit, and what was written down before.

What ``t5lite scaling fit --predict-run N D … --json`` printed into a file is a prediction that was written
down: its losses are looked up among the runs that have been finished since.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import StoragePath
from t5lite.scaling.report.families import Family
from t5lite.scaling.report.reported_run import number

_NAME = re.compile(r"loss at N=(?P<params>[-+.\de]+), D=(?P<tokens>[-+.\de]+)")
_ALIKE = 0.01
"""Of sizes: a run of as many parameters and tokens is the one that a prediction is of; steps are whole."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A loss that was predicted.

    Attributes:
      family: of the run.
      method: that predicted it.
      params: N.
      tokens: D.
      predicted: loss.
      low: of its interval; None without one.
      high: of it.
      outcome: the loss that was measured; None if there is no such run yet.
      run: which; empty if there is none.
      origin: where the prediction stands.
    """

    family: str
    method: str
    params: float
    tokens: float
    predicted: float
    low: float | None = None
    high: float | None = None
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
            low=None if each.interval is None else each.interval.low,
            high=None if each.interval is None else each.interval.high,
            outcome=each.loss,
            run=_run_of(family, params=each.params, tokens=each.tokens, loss=each.loss),
            origin="runs that were held out of the fit",
        )
        for analysis in family.analyses
        for each in analysis.held_out
    ]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A loss that a file predicts: by which method, of which sizes, and the interval, if there is one."""

    method: str
    params: float
    tokens: float
    predicted: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class WrittenDown:
    """What a file predicts, by the group of runs that it is of."""

    file: StoragePath
    groups: Mapping[str, Sequence[Told]]


def read_predictions(file: StoragePath, *, loss: str) -> WrittenDown:
    """Return what was predicted before.

    Args:
      file: that ``t5lite scaling fit --json`` printed.
      loss: the column that outcomes are of.

    Raises:
      DataError: if it is none, or of another column.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        for group in content.values():
            _check_column(file, group.get("columns", {}).get("loss", "loss"), loss)
        return WrittenDown(file=file, groups={key: _told(group) for key, group in content.items()})
    except FileNotFoundError:
        raise DataError(f"{file} does not exist; write it by t5lite scaling fit … --json > {file}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{file} is not what `t5lite scaling fit TABLE --predict-run N D --json` prints ({error!r})"
        ) from error


def _told(group: Mapping[str, Any]) -> list[Told]:
    return [
        Told(
            method=method,
            params=float(match["params"]),
            tokens=float(match["tokens"]),
            predicted=float(value),
            interval=_ends(said["intervals"].get(name)),
        )
        for method, said in group["methods"].items()
        for name, value in said["numbers"].items()
        if (match := _NAME.fullmatch(name)) and value is not None
    ]


def with_outcomes(written: WrittenDown, families: Sequence[Family]) -> tuple[list[Prediction], list[str]]:
    """Return the predictions of a file, with the outcomes that are known, and what is to be said of it."""
    found: list[Prediction] = []
    notes: list[str] = []
    for key, told in written.groups.items():
        family = _family(key, families)
        if family is None:
            left = f"{len(told)} predictions are left out"
            notes.append(f"{written.file}: no run here is of its {key!r}; {left}")
            continue
        found += [_with_outcome(family, each, origin=str(written.file)) for each in told]
    if not found and not notes:
        notes.append(f"{written.file} predicts no run's loss; t5lite scaling fit does by --predict-run N D")
    if missing := sum(each.outcome is None for each in found):
        notes.append(
            f"{written.file}: {missing} of {len(found)} predictions are of runs that are not finished yet"
        )
    return found, notes


def _check_column(file: StoragePath, predicted: str, loss: str) -> None:
    if predicted != loss:
        raise DataError(
            f"{file} predicts the column {predicted!r}, and this report is of {loss!r}; give --columns loss "
            f"{predicted}"
        )


def _ends(interval: Any) -> tuple[float, float] | None:
    if interval is None or None in (interval["low"], interval["high"]):
        return None
    return float(interval["low"]), float(interval["high"])


def _family(key: str, families: Sequence[Family]) -> Family | None:
    """Return the family of a key; the only one, where the table was fitted as one."""
    if not key and len(families) == 1:
        return families[0]
    return next((each for each in families if each.name == key), None)


def _with_outcome(family: Family, told: Told, *, origin: str) -> Prediction:
    """Return a prediction with what is known of the run of such sizes, if there is one."""
    low, high = told.interval or (None, None)
    predicted = Prediction(
        family=family.name,
        method=told.method,
        params=told.params,
        tokens=told.tokens,
        predicted=told.predicted,
        low=low,
        high=high,
        origin=origin,
    )
    known = family.observations
    far = np.maximum(_apart(known.params, told.params), _apart(known.tokens, told.tokens))
    if not len(far) or far.min() > _ALIKE:
        return predicted
    place = int(np.argmin(far))
    found = {name: float(getattr(known, name)[place]) for name in ("params", "tokens", "loss")}
    return replace(predicted, outcome=found["loss"], run=_run_of(family, **found))


def _apart(sizes: np.ndarray, size: float) -> np.ndarray:
    return np.abs(np.log(sizes / size))


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
