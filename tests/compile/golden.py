"""Golden files of how training steps are divided: shardings, and what crosses the links.

After a change that is meant:

    python -m tests.compile.golden

writes them anew; the diff in the commit shows what the change did.
"""

from collections import defaultdict
from pathlib import Path

import jax

from t5lite.planning.compiled.compile import CompiledStep
from t5lite.planning.report.table import size
from tests.compile.steps import TOPOLOGY, WAYS, parts, way

DIRECTORY = Path(__file__).parents[1] / "golden"
LIBTPU = "0.0.52"
"""The version that the files are of, as setup.py's extra ``test`` brings it."""


def path(name: str) -> Path:
    return DIRECTORY / f"partitioning_{name}.txt"


def described(name: str) -> str:
    """What a golden file holds."""
    step = way(name)
    mesh = " x ".join(f"{axis}={number}" for axis, number in step.mesh.items() if number > 1)
    lines = [f"{name}: {TOPOLOGY}, {mesh}", "", "parameters", *_shardings(name), "", "collectives in a step"]
    return "\n".join([*lines, *_collectives(step), ""])


def _shardings(name: str) -> list[str]:
    model, partitioner = parts(*WAYS[name])
    shardings = jax.tree.leaves(partitioner.tree_shardings(model.logical_axes, model.abstract_params))
    leaves = jax.tree_util.tree_leaves_with_path(model.abstract_params)
    return [
        f"  {jax.tree_util.keystr(key, simple=True, separator='/')} {leaf.shape} "
        f"{tuple(sharding.spec) if any(sharding.spec) else 'whole'}"
        for (key, leaf), sharding in zip(leaves, shardings, strict=True)
    ]


def _collectives(step: CompiledStep) -> list[str]:
    groups = defaultdict(list)
    for each in step.collectives:
        groups[each.kind, "+".join(each.axes)].append(each)
    return [
        f"  {kind} over {axes}: {len(found)} operations, {sum(each.runs for each in found)} runs, "
        f"{size(sum(each.total_bytes for each in found))} sent"
        for (kind, axes), found in sorted(groups.items())
    ]


if __name__ == "__main__":
    for each in WAYS:
        path(each).write_text(described(each), encoding="utf-8")
        print(path(each))
