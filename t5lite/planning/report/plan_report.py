"""A search and its finalists as text and as JSON."""

from collections.abc import Sequence
from typing import Any

from t5lite.planning.hardware.chips import GIB
from t5lite.planning.report.table import rows
from t5lite.planning.search.candidates import Candidate, Search
from t5lite.planning.search.finalists import MARGIN_BYTES, Finalist, chosen

_SHOWN = 5
"""Candidates that the text lists."""
_CAVEAT = (
    "predictions are optimistic: tuned runs in public reached 75-96 % of such a speed on v5e and v5p, about",
    "half on v6e, 30-59 % on A100 (docs/planning.md); activations and working memory are estimates",
)
REMEDIES = "use more chips, a larger chip, the optimizer adafactor, or a smaller --global-batch-size"
"""What to do where no way can be chosen."""


def text(found: Search, finalists: Sequence[Finalist], *, heading: str, memory_bytes: int) -> str:
    """Return what the command prints: how many ways there are, the best of them, and the recipe lines.

    Args:
      found: with at least one candidate that fits.
      finalists: compiled ones, best first; empty if nothing was compiled.
      heading: model, topology, batch, optimizer.
      memory_bytes: of one device.
    """
    lines = [heading, *_counts(found, memory_bytes), ""]
    lines += _table("predicted", [_predicted_cells(each) for each in found.ranked[:_SHOWN]])
    lines += _CAVEAT
    if finalists:
        lines += ["", *_table("compiled", [_compiled_cells(each) for each in finalists])]
    margin = f"{MARGIN_BYTES / GIB:.2f} of {memory_bytes / GIB:.2f} GiB free"
    best = recommended(found, finalists)
    if best is None:
        return "\n".join([*lines, "", f"none of these leaves {margin}: {REMEDIES}"])
    first = f"the fastest that leaves {margin}" if finalists else "the first"
    lines += ["", f"{first}, in a recipe:", *(f"    {line}," for line in best.recipe)]
    return "\n".join([*lines, "or as options of t5lite train:", f"    {best.overrides}"])


def recommended(found: Search, finalists: Sequence[Finalist]) -> Candidate | None:
    """Return the candidate that is chosen of those that were compiled, if any, else the best prediction."""
    if not finalists:
        return found.ranked[0]
    best = chosen(finalists)
    return best and best.candidate


def as_json(found: Search, finalists: Sequence[Finalist]) -> dict[str, Any]:
    """Return the same, whole and with exact numbers."""
    best = recommended(found, finalists)
    return {
        "considered": found.num_considered,
        "dropped": dict(found.dropped),
        "predicted": [_candidate_json(each) for each in found.ranked],
        "compiled": [_finalist_json(each) for each in finalists],
        "margin_bytes": MARGIN_BYTES,
        "chosen": best and _candidate_json(best),
    }


def nothing_fits(found: Search, *, heading: str, memory_bytes: int) -> str:
    """Return the message where no way fits, with what the smallest needs."""
    counts = "; ".join(f"{reason}: {number}" for reason, number in found.dropped.items())
    if found.smallest is None:
        return f"{heading}: no mesh divides the model and the batch ({counts}); change the batch size"
    memory = found.smallest.prediction.memory
    parts = ", ".join(f"{name.replace('_', ' ')} {each / GIB:.1f}" for name, each in memory.parts().items())
    return (
        f"{heading}: nothing fits ({counts}); the smallest way, {found.smallest.words}, needs about "
        f"{memory.total / GIB:.1f} GiB ({parts}) of {memory_bytes / GIB:.2f} GiB a device; {REMEDIES}"
    )


def _counts(found: Search, memory_bytes: int) -> list[str]:
    lines = [f"{found.num_considered:,} ways to run it on {memory_bytes / GIB:.2f} GiB a device"]
    lines += [f"  {number:>6,} dropped: {reason}" for reason, number in found.dropped.items()]
    return [*lines, f"  {len(found.ranked):>6,} left"]


def _table(kind: str, cells: Sequence[Sequence[str]]) -> list[str]:
    header = (kind, "s a step", "MFU", "GiB", "limited by", "mesh, style, remat, microbatches, options")
    return rows([header, *cells], left=(0, 4, 5))


def _predicted_cells(candidate: Candidate) -> tuple[str, ...]:
    time, memory = candidate.prediction.time, candidate.prediction.memory
    numbers = (f"{time.step:.3f}", f"{candidate.prediction.mfu:.1%}", f"{memory.total / GIB:.2f}")
    return ("", *numbers, time.limiting, candidate.words)


def _compiled_cells(finalist: Finalist) -> tuple[str, ...]:
    step, roofline = finalist.compiled, finalist.roofline
    if step is None or roofline is None:
        return ("refused", "", "", "", finalist.problem or "", finalist.candidate.words)
    numbers = (f"{finalist.seconds:.3f}", f"{roofline.scheduled_mfu:.1%}", f"{step.memory.needed / GIB:.2f}")
    return (finalist.problem or "fits", *numbers, roofline.limiting, finalist.candidate.words)


def _candidate_json(candidate: Candidate) -> dict[str, Any]:
    prediction = candidate.prediction
    return {
        "style": candidate.partitioning.style,
        "mesh": candidate.partitioning.sizes,
        "remat": candidate.execution.remat,
        "num_microbatches": candidate.execution.num_microbatches,
        "compiler_options": dict(candidate.partitioning.compiler_options),
        "step_seconds": prediction.time.step,
        "mfu": prediction.mfu,
        "limiting": prediction.time.limiting,
        "seconds": prediction.time.resources,
        "memory_bytes": {**prediction.memory.parts(), "total": prediction.memory.total},
        "recipe": list(candidate.recipe),
        "options": candidate.overrides,
    }


def _finalist_json(finalist: Finalist) -> dict[str, Any]:
    shown: dict[str, Any] = {"candidate": _candidate_json(finalist.candidate), "problem": finalist.problem}
    if finalist.compiled is not None and finalist.roofline is not None:
        shown |= {
            "step_seconds": finalist.roofline.step_seconds,
            "scheduled_seconds": finalist.roofline.scheduled_seconds,
            "serial_seconds": finalist.roofline.serial_seconds,
            "mfu": finalist.roofline.mfu,
            "scheduled_mfu": finalist.roofline.scheduled_mfu,
            "limiting": finalist.roofline.limiting,
            "seconds": finalist.roofline.seconds,
            "memory_bytes": finalist.compiled.memory.needed,
            "compile_seconds": finalist.compiled.compile_seconds,
        }
    return shown
