"""The report as one HTML page that needs no network and no script.

Style and figures are inside it, each figure in a light and a dark version that the reader's own
setting chooses between.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources

from t5lite.pages.html import document, facts, table, tiles
from t5lite.quickstart import findings
from t5lite.quickstart.figures import Plot, pretraining_plots, score_plots, task_plots
from t5lite.quickstart.findings import TABLE_HEADERS, duration, row_cells
from t5lite.quickstart.results import PretrainingSample, QuickstartResults, TaskResult, TaskSample

_SENTINEL = re.compile(r"&lt;extra_id_(\d+)&gt;")

Images = Mapping[str, tuple[bytes, bytes]]
"""For each figure's name, its light and its dark PNG."""


def page(results: QuickstartResults, images: Images) -> str:
    """Return the whole page."""
    total = sum(stage.seconds for stage in results.stages)
    body = [
        f"<h1>{escape(results.title)}</h1>",
        f'<p class="lead">{escape(findings.learned(results.pretraining))} '
        f"{findings.summary(results.tasks)}</p>",
        f'<p class="note">Recipe <code>{escape(results.recipe)}</code>, seed {results.seed}, '
        f"{duration(total)} in all. One run: the spread between seeds is not in these numbers.</p>",
        _tiles(results),
        _figures(score_plots(results), images),
        _pretraining_section(results, images),
        *(_task_section(task, images) for task in results.tasks),
        _run_section(results),
    ]
    css = (resources.files("t5lite.quickstart") / "assets" / "report.css").read_text(encoding="utf-8")
    return document(results.title, body, css=css)


def _tiles(results: QuickstartResults) -> str:
    first, last = results.pretraining.heldout[0], results.pretraining.heldout[-1]
    shown = [
        (f"{first.loss:.2f} → {last.loss:.2f}", "held-out loss, nats per target token"),
        (f"{last.encoder_use:z.2f}", "encoder use, nats lost by swapping encoder inputs"),
    ]
    for task in results.tasks:
        row = max(task.rows, key=lambda row: row.num_labels or float("inf"), default=None)
        if row is not None:
            shown.append(
                (f"{row.pretrained:.1f}", f"{row.label}, {task.title}; from scratch {row.scratch:.1f}")
            )
    return tiles(shown)


def _figures(found: Iterable[Plot], images: Images) -> str:
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


def _two_lines(cell: str) -> str:
    """Return a table cell as HTML with its error or explanation on a second line: narrow, for phones."""
    value, mark, rest = escape(cell).partition(" ± ")
    if not mark:
        value, mark, rest = value.partition(" (")
    second = f"± {rest}" if mark == " ± " else rest.removesuffix(")")
    return f"{value}<small>{second}</small>" if mark else value


def _pretraining_section(results: QuickstartResults, images: Images) -> str:
    pretraining = results.pretraining
    milestones = pretraining.milestones()
    names = {0: "before", len(milestones) - 1: "after"}
    losses = table(
        ("step", "held-out loss", "perplexity", "text loss", "encoder use"),
        (
            (f"{p.step:,}<small>{names.get(i, 'during')}</small>", f"{p.loss:.2f}", f"{p.perplexity:,.1f}",
             f"{p.text_loss:.2f}", f"{p.encoder_use:z.2f}")
            for i, p in enumerate(milestones)
        ),
    )  # fmt: skip
    parts = [
        "<h2>Pretraining by span corruption</h2>",
        "<p>Spans of the text are replaced by sentinels; the decoder writes the missing spans.</p>",
        f"<p>{escape(findings.against_ngrams(pretraining))} {escape(findings.encoder_use(pretraining))}</p>",
        _figures(pretraining_plots(results), images),
        losses,
        f'<p class="note">{escape(findings.NGRAM_CAVEAT)}</p>',
        facts(pretraining.settings) if pretraining.settings else "",
    ]
    if pretraining.samples:
        parts.append("<h3>Held-out samples, filled in greedily</h3>")
        parts.append(_samples(_pretraining_lines(sample) for sample in pretraining.samples))
    return "\n".join(parts)


def _task_section(task: TaskResult, images: Images) -> str:
    rows = [[_two_lines(cell) for cell in row_cells(row)] for row in task.rows]
    for cells, row in zip(rows, task.rows, strict=True):
        if row.num_examples is not None:
            cells[0] += f"<small>{row.num_examples:,} held-out</small>"
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
        table(TABLE_HEADERS, rows, ("", "pretrained", "scratch", "", "")),
        f"<ul>{verdicts}</ul>",
        _figures(task_plots(task), images),
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
        f'<i style="width:{100 * stage.seconds / longest:.1f}%"></i><b>{duration(stage.seconds)}</b>'
        for stage in results.stages
    )
    counts = table(
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
            facts(model | results.model),
            "</div><div><h3>Machine</h3>",
            facts(results.environment),
            "</div></div>",
            "<h3>Files in this directory</h3>" + facts(files) if files else "",
        ]
    )


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
