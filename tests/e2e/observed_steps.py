"""What the steps of a run are given, in a file of each of its processes: a hash of each example."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from t5lite.training.loop import _Loop

FOLDER = "T5LITE_TEST_OBSERVED"
"""Environment variable: where the files go, ``PROCESS.jsonl``; nothing is written without it."""


def install() -> None:
    """Have the steps of this process written down from now on, before each is run."""
    run_step = _Loop._run_step

    def observed(self, compiled_step, batch):
        line = {"step": self.step, "examples": _example_hashes(batch)}
        with (Path(os.environ[FOLDER]) / f"{jax.process_index()}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        run_step(self, compiled_step, batch)

    _Loop._run_step = observed


def observed_steps(folder: Path, *, num_processes: int) -> dict[int, list[str]]:
    """Return, for each step, the hashes of the examples of the global batch, in order.

    All processes must have done the same steps, on the same example where they share one, and on all of them.
    """
    processes = [
        {line["step"]: line["examples"] for line in map(json.loads, file.read_text().splitlines())}
        for file in sorted(folder.iterdir())
    ]
    assert len(processes) == num_processes
    steps: dict[int, list[str]] = {}
    for step in processes[0]:
        shown: dict[int, set[str]] = {}
        for process in processes:
            for row, example in process[step].items():
                shown.setdefault(int(row), set()).add(example)
        assert all(len(examples) == 1 for examples in shown.values()), (step, shown)
        assert sorted(shown) == list(range(len(shown)))
        steps[step] = [next(iter(shown[row])) for row in range(len(shown))]
    assert all(process.keys() == steps.keys() for process in processes)
    return steps


def _example_hashes(batch: Mapping[str, jax.Array]) -> dict[int, str]:
    """Return {row of the global batch: hash} of the rows on this process's devices."""
    rows: dict[int, dict[str, bytes]] = {}
    for name, field in batch.items():
        for shard in field.addressable_shards:
            first, _, _ = shard.index[0].indices(len(field))
            for row, values in enumerate(np.asarray(shard.data), start=first):
                content = values.tobytes()
                assert rows.setdefault(row, {}).setdefault(name, content) == content
    return {
        row: hashlib.sha256(b"".join(fields[name] for name in sorted(fields))).hexdigest()[:16]
        for row, fields in rows.items()
    }
