"""``step -> batch`` with real processes as hosts, each with worker processes of its own."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from t5lite.core.strict_json import StrictJson
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.mixture import MixtureDataConfig, MixtureSource
from t5lite.data.objectives import Objective
from t5lite.data.pipeline import DataConfig, SourceDataConfig, open_pipeline

BATCH_SIZE = 8
HOST = """
import hashlib, json, sys
import numpy as np
from tests.unit.data.test_hosts import BATCH_SIZE, opened, row_hashes

host, num_hosts, num_workers, start, stop = map(int, sys.argv[2:])
per_host = BATCH_SIZE // num_hosts
batches = opened(sys.argv[1]).batches(
    batch_size=BATCH_SIZE, rows=slice(host * per_host, (host + 1) * per_host), num_workers=num_workers,
    start=start * BATCH_SIZE, num_steps=stop - start,
)
if __name__ == "__main__":
    print(json.dumps([row_hashes(batch) for batch in batches]))
"""
JSON = StrictJson(unions=(Objective, SourceDataConfig, DataConfig))


def opened(text):
    return open_pipeline(JSON.parse(text, MixtureDataConfig, name="data"), seed=1)


def row_hashes(batch):
    import hashlib

    rows = len(next(iter(batch.values())))
    return [
        hashlib.sha256(
            b"".join(np.ascontiguousarray(batch[name][row]).tobytes() for name in sorted(batch))
        ).hexdigest()[:16]
        for row in range(rows)
    ]


def run_hosts(config, *, num_hosts, num_workers, steps):
    """Return [steps][rows] hashes of the global batches, put together from the hosts' own rows."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOST, config, *map(str, (host, num_hosts, num_workers[host], *steps))],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])},
        )
        for host in range(num_hosts)
    ]
    parts = []
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        parts.append(json.loads(output))
    return [list(itertools.chain.from_iterable(rows)) for rows in zip(*parts, strict=True)]


@pytest.fixture(scope="module")
def config(text_store, pair_store):
    text = PretrainingDataConfig(store=str(text_store), inputs_length=32)
    pairs = PairsDataConfig(store=str(pair_store), inputs_length=24, targets_length=24, pack=True)
    mixture = MixtureDataConfig(
        sources=(
            MixtureSource(name="text", data=text, weight=3),
            MixtureSource(name="pairs", data=pairs, weight=1),
        )
    )
    return json.dumps(JSON.unstructure(mixture, MixtureDataConfig))


@pytest.mark.slow
def test_hosts_and_workers_do_not_change_the_batches_nor_does_a_resume_on_other_hosts(config):
    pipeline = opened(config)
    expected = [row_hashes(pipeline.batch(step * BATCH_SIZE, batch_size=BATCH_SIZE)) for step in range(6)]
    assert run_hosts(config, num_hosts=1, num_workers=[3], steps=(0, 6)) == expected
    assert run_hosts(config, num_hosts=2, num_workers=[0, 2], steps=(0, 6)) == expected
    assert run_hosts(config, num_hosts=4, num_workers=[1, 0, 0, 2], steps=(0, 3)) == expected[:3]
    assert run_hosts(config, num_hosts=2, num_workers=[1, 0], steps=(3, 6)) == expected[3:]
    far = 10**9
    later = [row_hashes(pipeline.batch(far * BATCH_SIZE, batch_size=BATCH_SIZE))]
    assert run_hosts(config, num_hosts=2, num_workers=[0, 1], steps=(far, far + 1)) == later
