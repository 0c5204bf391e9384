"""Show the results: one self-contained ``report.html``, PNG plots, and a table for the terminal.

The page needs no network and no script: style and figures are inside it, each figure in a light and
a dark version. It can be made again from ``results.json`` alone.
"""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

from matplotlib.figure import Figure

from t5lite.core.files import write_bytes, write_text
from t5lite.quickstart import findings, plots
from t5lite.quickstart.findings import signed
from t5lite.quickstart.results import (
    HeldoutPoint,
    MetricRow,
    PretrainingSample,
    QuickstartResults,
    TaskResult,
    TaskSample,
    save_results,
)

_SENTINEL = re.compile(r"&lt;extra_id_(\d+)&gt;")
_TABLE_HEADERS = ("score", "pretrained", "scratch", "difference", "baseline")


@dataclass(frozen=True)
class _Plot:
    """A figure in either theme, the file it is saved as, and what it says to those who cannot see it."""

    name: str
    draw: Callable[[plots.Theme], Figure]
    caption: str


def write_report(results: QuickstartResults, directory: Path) -> Path:
    """Write ``results.json``, ``plots/*.png`` and ``report.html`` into ``directory``.

    Returns:
      The path of the report.
    """
    save_results(results, directory / "results.json")
    images: dict[str, tuple[bytes, bytes]] = {}
    for plot in _all_plots(results):
        images[plot.name] = (plots.png(plot.draw(plots.LIGHT)), plots.png(plot.draw(plots.DARK)))
        write_bytes(directory / "plots" / f"{plot.name}.png", images[plot.name][0])
    report = directory / "report.html"
    write_text(report, _page(results, images))
    return report


def terminal_table(results: QuickstartResults) -> str:
    """Return the outcome as plain text of at most 100 columns: losses, scores, and what they mean."""
    pretraining, ngrams = results.pretraining, results.pretraining.ngrams
    lines = [
        results.title,
        "",
        *_aligned(
            [("step", "held-out loss", "perplexity", "text loss", "encoder use")]
            + [
                (
                    f"{p.step:,}",
                    f"{p.loss:.2f}",
                    f"{p.perplexity:,.1f}",
                    f"{p.text_loss:.2f}",
                    f"{p.encoder_use:.2f}",
                )
                for p in _milestones(pretraining.heldout)
            ]
        ),
        f"text loss of counting: unigram {ngrams.unigram:.2f}, bigram {ngrams.bigram:.2f}",
    ]
    for task in results.tasks:
        lines += ["", task.title, *_aligned([_TABLE_HEADERS, *(_row_cells(row) for row in task.rows)])]
    sentences = [
        findings.learned(pretraining),
        findings.against_ngrams(pretraining),
        findings.encoder_use(pretraining),
    ]
    sentences += [findings.row_finding(row) for task in results.tasks for row in task.rows]
    total = sum(stage.seconds for stage in results.stages)
    return "\n".join([*lines, "", *sentences, "", f"Total time {_duration(total)}."])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return text rows in columns: the first flush left, numbers flush right, a rule under the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [text[0], "-" * len(text[0]), *text[1:]]


def _plus_minus(value: str, error: float | None) -> str:
    return value if error is None else f"{value} ± {error:.1f}"


def _row_cells(row: MetricRow) -> tuple[str, str, str, str, str]:
    return (
        row.label,
        _plus_minus(f"{row.pretrained:.1f}", row.pretrained_error),
        _plus_minus(f"{row.scratch:.1f}", row.scratch_error),
        _plus_minus(signed(row.difference), row.difference_error),
        "" if row.baseline is None else f"{row.baseline:.1f} ({row.baseline_name})",
    )


def _milestones(heldout: Sequence[HeldoutPoint], count: int = 5) -> list[HeldoutPoint]:
    """Return before, during and after: first, last, and evenly spaced evaluations between."""
    if len(heldout) <= count:
        return list(heldout)
    return [heldout[round(i * (len(heldout) - 1) / (count - 1))] for i in range(count)]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _pretraining_plots(results: QuickstartResults) -> list[_Plot]:
    pretraining = results.pretraining
    first = pretraining.heldout[0]
    return [
        _Plot(
            "pretraining_loss",
            lambda theme: plots.pretraining_loss(
                pretraining.train, pretraining.heldout, pretraining.ngrams, theme=theme
            ),
            "Loss during pretraining. Pale: training batches. Solid: held-out text, all target tokens. "
            "Dashed: held-out text pieces alone, which compare with the two n-gram lines. "
            f"The first evaluation, {first.loss:.2f} at step {first.step:,}, may lie above the chart.",
        ),
        _Plot(
            "encoder_use",
            lambda theme: plots.encoder_use(pretraining.heldout, theme=theme),
            findings.ENCODER_USE,
        ),
    ]


def _score_plots(results: QuickstartResults) -> list[_Plot]:
    rows = [
        (f"{row.metric}\n{task.name}", row)
        for task in results.tasks
        for row in task.rows
        if row.num_labels is None
    ]
    if not rows:
        return []
    errors = any(row.pretrained_error is not None for _, row in rows)
    caption = "Scores on held-out examples after the same fine-tuning, pretrained and from scratch"
    caption += ", with one standard error." if errors else "."
    return [_Plot("scores", lambda theme: plots.scores(rows, theme=theme), caption)]


def _task_plots(task: TaskResult) -> list[_Plot]:
    found = []
    if task.pretrained_curve and task.scratch_curve:
        found.append(
            _Plot(
                f"{task.name}_curves",
                lambda theme: plots.task_curves(
                    task.pretrained_curve, task.scratch_curve, label=task.curve_label, theme=theme
                ),
                f"{task.title}: the same data, steps and optimizer, from the pretrained checkpoint and "
                "from fresh parameters.",
            )
        )
    for metric in dict.fromkeys(row.metric for row in task.rows):
        few = [row for row in task.rows if row.metric == metric and row.num_labels is not None]
        if len(few) > 1:
            found.append(
                _Plot(
                    f"{task.name}_{metric.lower().replace(' ', '_')}_few_labels",
                    lambda theme, few=few: plots.few_labels(few, theme=theme),
                    f"{task.title}: {metric} against the number of labelled training examples.",
                )
            )
    return found


def _all_plots(results: QuickstartResults) -> list[_Plot]:
    return (
        _score_plots(results)
        + _pretraining_plots(results)
        + [plot for task in results.tasks for plot in _task_plots(task)]
    )


def _page(results: QuickstartResults, images: dict[str, tuple[bytes, bytes]]) -> str:
    css = (resources.files("t5lite.quickstart") / "assets" / "report.css").read_text(encoding="utf-8")
    total = sum(stage.seconds for stage in results.stages)
    body = [
        f"<h1>{escape(results.title)}</h1>",
        f'<p class="lead">{escape(findings.learned(results.pretraining))} '
        f"{findings.summary(results.tasks)}</p>",
        f'<p class="note">Recipe <code>{escape(results.recipe)}</code>, seed {results.seed}, '
        f"{_duration(total)} in all. One run: the spread between seeds is not in these numbers.</p>",
        _tiles(results),
        _figures(_score_plots(results), images),
        _pretraining_section(results, images),
        *(_task_section(task, images) for task in results.tasks),
        _run_section(results),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(results.title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _tiles(results: QuickstartResults) -> str:
    first, last = results.pretraining.heldout[0], results.pretraining.heldout[-1]
    tiles = [
        (f"{first.loss:.2f} → {last.loss:.2f}", "held-out loss, nats per target token"),
        (f"{last.encoder_use:.2f}", "encoder use, nats lost by swapping encoder inputs"),
    ]
    for task in results.tasks:
        row = max(task.rows, key=lambda row: row.num_labels or float("inf"), default=None)
        if row is not None:
            tiles.append(
                (f"{row.pretrained:.1f}", f"{row.label}, {task.title}; from scratch {row.scratch:.1f}")
            )
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _figures(found: Iterable[_Plot], images: dict[str, tuple[bytes, bytes]]) -> str:
    cells = []
    for plot in found:
        light, dark = (
            f"data:image/png;base64,{base64.b64encode(image).decode()}" for image in images[plot.name]
        )
        cells.append(
            f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
            f'<img src="{light}" alt="{escape(plot.caption)}"></picture>'
            f"<figcaption>{escape(plot.caption)}</figcaption></figure>"
        )
    return f'<div class="figures">{"".join(cells)}</div>' if cells else ""


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """Return a table of cells that are HTML already; ``classes`` name the columns' classes."""
    names = [f' class="{name}"' if name else "" for name in classes] or [""] * len(headers)
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "".join(
        "<tr>" + "".join(f"<td{name}>{cell}</td>" for name, cell in zip(names, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _facts(facts: dict[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()) + "</dl>"


def _pretraining_section(results: QuickstartResults, images: dict[str, tuple[bytes, bytes]]) -> str:
    pretraining = results.pretraining
    milestones = _milestones(pretraining.heldout)
    names = {0: "before", len(milestones) - 1: "after"}
    table = _table(
        ("step", "held-out loss", "perplexity", "text loss", "encoder use"),
        (
            (f"{p.step:,}<small>{names.get(i, 'during')}</small>", f"{p.loss:.2f}", f"{p.perplexity:,.1f}",
             f"{p.text_loss:.2f}", f"{p.encoder_use:.2f}")
            for i, p in enumerate(milestones)
        ),
    )  # fmt: skip
    parts = [
        "<h2>Pretraining by span corruption</h2>",
        "<p>Spans of the text are replaced by sentinels; the decoder writes the missing spans.</p>",
        f"<p>{escape(findings.against_ngrams(pretraining))} {escape(findings.encoder_use(pretraining))}</p>",
        _figures(_pretraining_plots(results), images),
        table,
        f'<p class="note">{escape(findings.NGRAM_CAVEAT)}</p>',
        _facts(pretraining.settings) if pretraining.settings else "",
    ]
    if pretraining.samples:
        parts.append("<h3>Held-out samples, filled in greedily</h3>")
        parts.append(_samples(_pretraining_lines(sample) for sample in pretraining.samples))
    return "\n".join(parts)


def _task_section(task: TaskResult, images: dict[str, tuple[bytes, bytes]]) -> str:
    rows = []
    for row in task.rows:
        label, *cells = (escape(cell) for cell in _row_cells(row))
        if row.num_examples is not None:
            label += f"<small>{row.num_examples:,} held-out</small>"
        rows.append((label, *cells))
    amounts = []
    if task.train_examples is not None:
        amounts.append(f"{task.train_examples:,} training examples")
    if task.steps is not None:
        amounts.append(f"{task.steps:,} steps")
    about = " ".join(filter(None, [escape(task.description), f"{', '.join(amounts)}." if amounts else ""]))
    verdicts = "".join(f"<li>{escape(findings.row_finding(row))}</li>" for row in task.rows)
    parts = [
        f"<h2>Fine-tuning: {escape(task.title)}</h2>",
        f"<p>{about}</p>" if about else "",
        _table(_TABLE_HEADERS, rows, ("", "pretrained", "scratch", "", "")),
        f"<ul>{verdicts}</ul>",
        _figures(_task_plots(task), images),
    ]
    if task.samples:
        parts += ["<h3>Held-out samples</h3>", _samples(_task_lines(sample) for sample in task.samples)]
    return "\n".join(parts)


def _pretraining_lines(sample: PretrainingSample) -> list[tuple[str, str, str]]:
    return [
        ("", "corrupted input", sample.inputs),
        ("", "target", sample.target),
        ("pretrained", "model output", sample.output),
    ]


def _task_lines(sample: TaskSample) -> list[tuple[str, str, str]]:
    return [
        ("", "input", sample.inputs),
        ("", "target", sample.target),
        ("pretrained", "pretrained", sample.pretrained),
        ("scratch", "scratch", sample.scratch),
    ]


def _samples(samples: Iterable[list[tuple[str, str, str]]]) -> str:
    """Return sample cards from (class, label, text) lines; sentinels become marks with their number."""
    cards = []
    for lines in samples:
        card = ""
        for name, label, text in lines:
            shown = _SENTINEL.sub(r"<mark>\1</mark>", escape(text)) or "<em>(empty)</em>"
            card += f'<p class="{name}"><span>{label}</span>{shown}</p>'
        cards.append(f'<div class="sample">{card}</div>')
    return f'<div class="samples">{"".join(cards)}</div>'


def _run_section(results: QuickstartResults) -> str:
    longest = max((stage.seconds for stage in results.stages), default=1.0) or 1.0
    bars = "".join(
        f"<span>{escape(stage.name)}<small>{escape(stage.note)}</small></span>"
        f'<i style="width:{100 * stage.seconds / longest:.1f}%"></i><b>{_duration(stage.seconds)}</b>'
        for stage in results.stages
    )
    counts = _table(
        ("text", "train documents", "tokens", "held-out documents", "tokens"),
        (
            (escape(text.name), f"{text.train_documents:,}", _count(text.train_tokens),
             f"{text.heldout_documents:,}", _count(text.heldout_tokens))
            for text in results.corpus
        ),
    )  # fmt: skip
    model = {"parameters": f"{results.num_params:,}", "vocabulary": f"{results.vocabulary_size:,} ids"}
    files = {entry.path: entry.description for entry in results.files}
    return "\n".join(
        [
            "<h2>The run</h2>",
            f'<div class="bars">{bars}</div>',
            "<h3>Text</h3>",
            counts,
            '<div class="columns"><div><h3>Model</h3>',
            _facts(model | results.model),
            "</div><div><h3>Machine</h3>",
            _facts(results.environment),
            "</div></div>",
            "<h3>Files in this directory</h3>" + _facts(files) if files else "",
        ]
    )


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
