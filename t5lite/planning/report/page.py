"""The report on a compiled step as one HTML page: no network, no script, pictures as inline SVG."""

from collections.abc import Sequence
from html import escape

from t5lite.planning.report.pictures import memory_picture, time_picture
from t5lite.planning.report.summary import Summary
from t5lite.planning.report.table import duration, flops, mesh, scheduled, size, verdict

GENERATOR = '<meta name="generator" content="t5lite compile">'
"""By this line a page is known, and may be replaced by another."""
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1e23; --faint: #6b7280; --line: #d9dce1; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --faint: #9aa2ad; --line: #363b43; --paper: #14171b; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.note { color: var(--faint); } .bad { color: #d4351c; font-weight: 600; } .good { font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
td, th { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font-size: .85em; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; }
"""


def page(summary: Summary, *, title: str) -> str:
    """Return the whole page."""
    batch = summary["batch"]
    lengths = " + ".join(str(batch[name]) for name in ("encoder_length", "decoder_length") if batch[name])
    kind = "good" if summary["fits"] else "bad"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="note">{summary["parameters"]:,} parameters, batch {batch["batch_size"]} x {lengths} '
        f"tokens, mesh {escape(mesh(summary))}</p>",
        f'<p class="{kind}">{escape(verdict(summary))}</p>',
        *_advice(summary),
        "<h2>Memory of a device</h2>",
        memory_picture(summary),
        "<h2>Time of a step, by resource</h2>",
        f"<p>At least {duration(summary['time']['step'])}, if all resources work at once: "
        f"{escape(summary['time']['limiting'])} takes longest, and MFU is {summary['time']['mfu']:.0%} at "
        f"most. As scheduled about {escape(scheduled(summary))}. If nothing overlaps, "
        f"{duration(summary['time']['serial'])} and "
        f"{summary['time']['serial_mfu']:.0%}.</p>",
        time_picture(summary),
        f'<p class="note">{flops(summary["flops"]["counted"])} a device are counted in the program, '
        f"{summary['flops']['counted_over_model']:.3f} of the model's own; "
        f"{size(summary['memory_traffic'])} go through main memory. Speeds: "
        f"{escape(summary['chip']['source'])}.</p>",
        "<h2>Largest in memory at the peak</h2>",
        _table(
            ("bytes", "", "array", "what", "where from"),
            [
                (size(row["bytes"]), f"{row['count']} x", row["shape"], row["kind"], _where(row))
                for row in summary["buffers"]
            ],
            right=("bytes", ""),
        ),
        "<h2>Collectives, most waited for first</h2>",
        _table(
            ("waited", "of", "bytes", "kind", "axes", "where from"),
            [
                (
                    duration(row["waited_seconds"]),
                    duration(row["seconds"]),
                    size(row["bytes"]),
                    row["kind"],
                    row["axes"],
                    _where(row),
                )
                for row in summary["collectives"]
            ],
            right=("waited", "of", "bytes"),
        ),
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{GENERATOR}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _advice(summary: Summary) -> list[str]:
    if not summary["advice"]:
        return []
    items = "".join(f"<li>{escape(remedy)}</li>" for remedy in summary["advice"])
    return [f"<p>What to change:</p><ul>{items}</ul>"]


def _where(row: Summary) -> str:
    return " ".join(filter(None, (row["source"], row["op_name"])))


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], *, right: Sequence[str]) -> str:
    def cells(line: Sequence[str], tag: str) -> str:
        texts = [escape(cell) for cell in line]
        if tag == "td":
            texts[-1] = f"<code>{texts[-1]}</code>"
        classes = ['class="number"' if column in right else "" for column in head]
        return "".join(f"<{tag} {kind}>{text}</{tag}>" for text, kind in zip(texts, classes, strict=True))

    body = "".join(f"<tr>{cells(line, 'td')}</tr>" for line in lines)
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"
