"""The runs of one family, with the laws that are fitted to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from t5lite.core.errors import DataError
from t5lite.scaling.analysis import Analysis, Settings, analyse, described, fitted_runs, warnings
from t5lite.scaling.column_names import NAMES
from t5lite.scaling.isoflop import IsoFlopFit, fit_isoflop
from t5lite.scaling.methods import METHODS
from t5lite.scaling.observations import Observations
from t5lite.scaling.report.reported_run import ReportedRun
from t5lite.scaling.tables import table_of

_BANDS = 9
"""Budgets at which the interval of what is best is taken: between them, bands are straight in logarithms."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Runs that are compared and fitted together.

    Attributes:
      name: of it.
      runs: all of it.
      observations: finished ones that a law may be of, those that repeat tokens, too.
      fitted: those that laws are of.
      held_out: those that are predicted only.
      isoflop: the parabolas; None where there are none.
      analyses: by every method; empty if there is nothing to fit.
      described: what there is to fit.
      notes: what is to be said of them, a sentence each.
      budgets: FLOPs at which intervals were taken, ascending.
    """

    name: str
    runs: tuple[ReportedRun, ...]
    observations: Observations
    fitted: Observations
    held_out: Observations
    isoflop: IsoFlopFit | None
    analyses: tuple[Analysis, ...]
    described: str
    notes: tuple[str, ...]
    budgets: tuple[float, ...]

    @property
    def names(self) -> set[str]:
        """Its name, and that without its place."""
        return {self.name, *filter(None, (run.called for run in self.runs))}

    @property
    def law(self) -> Analysis | None:
        """The first that is a formula of the loss."""
        return next((each for each in self.analyses if each.fitted and each.fitted.law), None)


def families(
    runs: Sequence[ReportedRun],
    methods: Sequence[str],
    settings: Settings,
) -> list[Family]:
    """Return runs by their families, in the order in which these first appear.

    Args:
      runs: all.
      methods: of fitting, by name.
      settings: of fitting.
    """
    grouped: dict[str, list[ReportedRun]] = {}
    for run in runs:
        grouped.setdefault(run.family, []).append(run)
    return [_family(name, each, methods, settings) for name, each in grouped.items()]


def _family(name: str, runs: Sequence[ReportedRun], methods: Sequence[str], settings: Settings) -> Family:
    named = [(f"{run.origin}: {run.name}", run) for run in runs if run.is_finished]
    rows = [(run_name, {**point, "run": run_name}) for run_name, run in named for point in run.points]
    names = {name for _, row in rows for name in NAMES if row.get(name) not in (None, "")} | {"loss"}
    if len(names & {"params", "tokens", "flops"}) < 2:
        rows = []
    table = table_of(rows, {each: each for each in NAMES if each in names})
    observations = table.observations
    known = fitted_runs(observations, settings)
    below = known.flops < (settings.fit_below or np.inf)
    fitted, held_out = known.take(below), known.take(~below)
    budgets = _budgets(fitted, held_out)
    banded = replace(settings, budgets=budgets)
    analyses = [analyse(observations, METHODS[each], banded) for each in methods] if len(fitted) else []
    return Family(
        name=name,
        runs=tuple(runs),
        observations=observations,
        fitted=fitted,
        held_out=held_out,
        isoflop=_isoflop(fitted),
        analyses=tuple(analyses),
        described=described(observations, settings),
        notes=(*(table.notes if rows else ()), *warnings(observations, settings)),
        budgets=budgets,
    )


def _budgets(fitted: Observations, held_out: Observations) -> tuple[float, ...]:
    """Return budgets over all runs, to six digits, as names of numbers have them."""
    flops = np.concatenate([fitted.flops, held_out.flops])
    if not len(fitted) or flops.max() <= flops.min():
        return ()
    return tuple(float(f"{each:g}") for each in np.geomspace(flops.min(), flops.max(), _BANDS))


def _isoflop(observations: Observations) -> IsoFlopFit | None:
    try:
        return fit_isoflop(observations) if len(observations) else None
    except DataError:
        return None
