"""The report's page: one file that needs no network and no script."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from t5lite import __version__
from t5lite.pages.html import document, facts, table, tiles
from t5lite.pages.themed_svg import colors_used, theme_css
from t5lite.scaling.analysis import Analysis
from t5lite.scaling.report.curve_figures import PROGRESS
from t5lite.scaling.report.drawing import dark_twin, short
from t5lite.scaling.report.families import Family
from t5lite.scaling.report.predictions import Prediction
from t5lite.scaling.report.reported_run import ReportedRun
from t5lite.scaling.report.sources import newest_time, remarks, software_of
from t5lite.scaling.report.tables_shown import cell, figure, shown_columns

_MOST_ROWS = 500
"""Of the table; a page of more is slow on a phone, and table.csv has them all."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure.

    Attributes:
      svg: as it stands on the page.
      file: of the PNG beside it.
      caption: below it.
    """

    svg: str
    file: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """All that a page says.

    Attributes:
      title: of it.
      given: the places that were read.
      runs: all.
      families: with their laws.
      notes: of reading, a sentence each.
      predictions: with their outcomes.
      curves: figures by ``Progress.name``, a family each.
      of_family: figures of a family, by its name.
      of_predictions: figures of a family's predictions, by its name.
      level: of intervals.
    """

    title: str
    given: tuple[str, ...]
    runs: tuple[ReportedRun, ...]
    families: tuple[Family, ...]
    notes: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    curves: Mapping[str, Sequence[Shown]]
    of_family: Mapping[str, Sequence[Shown]]
    of_predictions: Mapping[str, Sequence[Shown]]
    level: float


def page(content: Content) -> str:
    """Return the whole page."""
    body = [
        f"<h1>{escape(content.title)}</h1>",
        _lead(content),
        tiles(_numbers(content)),
        _notes([*content.notes, *remarks(content.runs)]),
        _curves(content),
        *(_family(family, content) for family in content.families),
        _predictions(content),
        _runs(content.runs),
        _about(content),
    ]
    css = (resources.files("t5lite.scaling.report") / "assets" / "report.css").read_text(encoding="utf-8")
    whole = document(content.title, body, css=css)
    theme = theme_css({color: dark_twin(color) for color in colors_used(whole)})
    return whole.replace("</style>", f"{theme}</style>", 1)


def _lead(content: Content) -> str:
    newest = newest_time(content.runs)
    dated = f", the newest data of {escape(newest)}" if newest else ""
    return (
        f'<p class="lead">{_count(len(content.runs), "run")} of {_names(content.families)}{dated}.</p>'
        f'<p class="note">Read from {", ".join(f"<code>{escape(each)}</code>" for each in content.given)} '
        f"by t5lite {escape(__version__)} on {time.strftime('%Y-%m-%d %H:%M')}.</p>"
    )


def _names(families: Sequence[Family]) -> str:
    named = [each.name or "no named family" for each in families]
    listed = ", ".join(escape(name) for name in named[:8]) + ("…" if len(named) > 8 else "")
    return f"the family {listed}" if len(named) == 1 else f"{len(named)} families ({listed})"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _numbers(content: Content) -> list[tuple[str, str]]:
    finished = [run for run in content.runs if run.is_finished]
    flops = [each for run in finished if math.isfinite(each := _own_flops(run))]
    params = [each for run in content.runs if math.isfinite(each := run.number("params"))]
    seconds = [each for run in content.runs if math.isfinite(each := run.number("seconds"))]
    shown = [(f"{len(finished)} of {len(content.runs)}", "runs are finished")]
    if params:
        ends = dict.fromkeys(short(float(f"{each:.2g}")) for each in (min(params), max(params)))
        shown.append((" to ".join(ends), "parameters"))
    if flops:
        shown.append((short(float(f"{sum(flops):.2g}")), "FLOPs of the finished runs together"))
    if seconds:
        shown.append((f"{sum(seconds) / 3600:,.1f} h", "from first starts to ends, all runs together"))
    return shown


def _own_flops(run: ReportedRun) -> float:
    """Return the FLOPs of a run without those of its trunk, which is another run."""
    own = run.number("own_flops")
    return own if math.isfinite(own) else run.number("flops")


def _notes(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(each)}</li>" for each in dict.fromkeys(sentences))
    return f'<ul class="notes">{items}</ul>' if items else ""


def _figures(shown: Iterable[Shown]) -> str:
    cells = "".join(
        f"<figure>{each.svg}<figcaption>{escape(each.caption)} "
        f'<a href="{escape(each.file)}">PNG</a></figcaption></figure>'
        for each in shown
    )
    return f'<div class="figures">{cells}</div>' if cells else ""


def _curves(content: Content) -> str:
    known = [progress for progress in PROGRESS if content.curves.get(progress.name)]
    parts = ["<h2>Loss curves</h2>"]
    if not known:
        return parts[0] + "<p>No run has losses over its training: there is nothing to draw.</p>"
    choices = "".join(
        f'<input type="radio" name="over" id="over-{each.name}"{" checked" * (place == 0)}>'
        f'<label for="over-{each.name}">{escape(each.words)}</label>'
        for place, each in enumerate(known)
    )
    panels = "".join(
        f'<div class="panel over-{each.name}">{_figures(content.curves[each.name])}</div>' for each in known
    )
    return f'{parts[0]}<div class="choice"><span>over</span>{choices}{panels}</div>'


def _family(family: Family, content: Content) -> str:
    parts = [f"<h2>Laws of {escape(family.name or 'all runs')}</h2>"]
    if not len(family.observations):
        parts.append("<p>No finished run has what a law is of: parameters, tokens or FLOPs, and a loss.</p>")
        return "\n".join([*parts, _notes(family.notes)])
    parts.append(f"<p>{escape(family.described)}.</p>")
    parts.append(_notes(family.notes))
    fitted = [each for each in family.analyses if each.fitted is not None]
    parts.append(_figures(content.of_family[family.name]))
    if fitted:
        parts.append(_found(fitted, content.level))
    else:
        parts.append("<p>No method can be fitted to these runs; why not is said below.</p>")
    parts.append(_said(family.analyses))
    return "\n".join(parts)


def _found(analyses: Sequence[Analysis], level: float) -> str:
    """Return the constants of all methods in one table, each with its interval below."""
    names = dict.fromkeys(name for each in analyses for name in each.numbers if " at " not in name)
    ordered = sorted(names, key=lambda name: not name.endswith("exponent"))
    rows = []
    for analysis in analyses:
        cells = [escape(analysis.method.name)]
        for name in ordered:
            value, interval = analysis.numbers.get(name), analysis.intervals.get(name)
            between = "" if interval is None else f"<small>{interval.low:.3g} to {interval.high:.3g}</small>"
            cells.append("" if value is None else f"{value:.4g}{between}")
        rows.append(cells)
    below = f'<p class="note">Below each number: its {level:.0%} interval.</p>'
    return table(("method", *ordered), rows) + below


def _said(analyses: Sequence[Analysis]) -> str:
    items = "".join(
        f"<dt>{escape(each.method.name)}</dt><dd>{escape(each.method.about)}"
        + "".join(f"<br>{escape(note)}" for note in (("not fitted:",) if each.fitted is None else ()))
        + "".join(f"<br>{escape(note)}" for note in each.notes)
        + "</dd>"
        for each in analyses
    )
    return f"<details><summary>What is said of each method</summary><dl>{items}</dl></details>"


def _predictions(content: Content) -> str:
    parts = ["<h2>Predictions beside outcomes</h2>"]
    if not content.predictions:
        parts.append(
            "<p>Nothing was held out, and nothing predicted of a run here. <code>--fit-below FLOPS</code> "
            "holds out the runs that cost as much or more; <code>--predictions FILE</code> takes what "
            "<code>t5lite scaling fit … --predict-run N D --json</code> wrote. How each method does without "
            "the largest budget is said with the methods above.</p>"
        )
    for family in content.families:
        known = [each for each in content.predictions if each.family == family.name]
        if not known:
            continue
        parts.append(f"<h3>{escape(family.name or 'all runs')}</h3>")
        parts.append(_figures(content.of_predictions.get(family.name, ())))
        parts.append(
            table(
                ("run", "parameters", "tokens", "method", "predicted", "outcome", "missed by"),
                [
                    (
                        "not there yet" if each.outcome is None else _name(each.run),
                        figure(each.params),
                        figure(each.tokens),
                        escape(each.method),
                        f"{each.predicted:.4f}{_between(each)}",
                        "" if each.outcome is None else f"{each.outcome:.4f}",
                        "" if each.missed is None else f"{each.missed:+.2f} %",
                    )
                    for each in known
                ],
            )
        )
        origins = ", ".join(dict.fromkeys(each.origin for each in known))
        parts.append(
            f'<p class="note">Of {escape(origins)}. Below each prediction: its interval, of the law, '
            "without the scatter of single runs.</p>"
        )
    return "\n".join(parts)


def _between(prediction: Prediction) -> str:
    known = prediction.interval
    return "" if known is None else f"<small>{known.level:.0%}: {known.low:.4f} to {known.high:.4f}</small>"


def _runs(runs: Sequence[ReportedRun]) -> str:
    columns = shown_columns(runs)
    ordered = sorted(runs, key=lambda run: (run.family, run.number("flops")))
    rows = [
        (
            _name(run.name),
            _name(run.family),
            escape(_state(run)),
            *(cell(run, column) for column in columns),
        )
        for run in ordered[:_MOST_ROWS]
    ]
    rest = len(runs) - len(rows)
    more = f" {rest:,} more runs are in it." if rest else ""
    return "\n".join(
        [
            "<h2>All runs</h2>",
            '<p class="note">All columns: <a href="table.csv">table.csv</a>; the curves: '
            f'<a href="curves.csv">curves.csv</a>.{more}</p>',
            table(("run", "family", "state", *columns.values()), rows),
        ]
    )


def _state(run: ReportedRun) -> str:
    if run.ended_early:
        return f"{run.state} early"
    if run.is_finished or run.step is None or not run.total_steps:
        return run.state
    return f"{run.state} at {run.step / run.total_steps:.0%}"


def _name(name: str) -> str:
    return f'<span class="name" title="{escape(name)}">{escape(name)}</span>' if name else ""


def _about(content: Content) -> str:
    software = software_of(content.runs)
    if not software:
        return ""
    return "<h2>Made with</h2>" + facts(software)
