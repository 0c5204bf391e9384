"""Show the results: one self-contained ``report.html``, PNG plots, and a table for the terminal.

All of it can be made again from ``results.json`` alone.
"""

import textwrap
from collections.abc import Sequence

from t5lite.core.files import write_bytes, write_text
from t5lite.core.storage.addresses import StoragePath
from t5lite.pages.figures import DARK, LIGHT, png
from t5lite.quickstart import findings
from t5lite.quickstart.figures import all_plots
from t5lite.quickstart.findings import TABLE_HEADERS, duration, row_cells
from t5lite.quickstart.page import page
from t5lite.quickstart.results import RESULTS_FILE, QuickstartResults, save_results


def write_report(results: QuickstartResults, directory: StoragePath) -> StoragePath:
    """Write ``results.json``, ``plots/*.png`` and ``report.html`` into ``directory``.

    Returns:
      The path of the report.
    """
    save_results(results, directory / RESULTS_FILE)
    images: dict[str, tuple[bytes, bytes]] = {}
    for plot in all_plots(results):
        images[plot.name] = (png(plot.draw(LIGHT)), png(plot.draw(DARK)))
        write_bytes(directory / "plots" / f"{plot.name}.png", images[plot.name][0])
    report = directory / "report.html"
    write_text(report, page(results, images))
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
                    f"{p.encoder_use:z.2f}",
                )
                for p in pretraining.milestones()
            ]
        ),
        f"text loss of counting: unigram {ngrams.unigram:.2f}, bigram {ngrams.bigram:.2f}",
    ]
    for task in results.tasks:
        lines += ["", task.title, *_aligned([TABLE_HEADERS, *(row_cells(row) for row in task.rows)])]
    sentences = [
        findings.learned(pretraining),
        findings.against_ngrams(pretraining),
        findings.encoder_use(pretraining),
    ]
    sentences += [findings.row_finding(row) for task in results.tasks for row in task.rows]
    total = sum(stage.seconds for stage in results.stages)
    wrapped = [textwrap.fill(sentence, 100, subsequent_indent="  ") for sentence in sentences]
    return "\n".join([*lines, "", *wrapped, "", f"Total time {duration(total)}."])


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
