"""Where the time of a compiled step on CPU goes, by kind of operation."""

import collections
import gzip
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax

KINDS = (
    ("matrix products", r"ynn_fusion|dot"),
    ("copies and transposes", r".*(copy|transpose|concatenate|slice|pad|bitcast_fusion)"),
    ("reductions", r".*reduce"),
    ("elementwise", r".*"),
)
"""Kinds by the name of an instruction, first match; XLA names a fusion after what is in it."""


def thunk_times(step: Callable[[], float], hlo: str) -> dict[str, float]:
    """Run one step under the profiler and return the share of each kind of instruction, largest first.

    Instructions run side by side, so shares are of the sum of all their times, not of the wall clock.

    Args:
      step: runs the compiled program and waits.
      hlo: the program's text, whose instructions are looked for in the trace.
    """
    instructions = set(re.findall(r"^\s+(?:ROOT )?%?([\w.\-]+) = ", hlo, flags=re.MULTILINE))
    with tempfile.TemporaryDirectory() as directory:
        with jax.profiler.trace(directory):
            step()
        (trace,) = Path(directory).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    times: collections.Counter[str] = collections.Counter()
    for event in events:
        name = event.get("name", "")
        if event.get("ph") == "X" and name in instructions:
            times[next(kind for kind, pattern in KINDS if re.match(pattern, name))] += event["dur"]
    return {kind: spent / times.total() for kind, spent in times.most_common()}
