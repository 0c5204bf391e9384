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
import json, sys
from tests.unit.data.test_hosts import BATCH_SIZE, opened, row_hashes

host, num_hosts = map(int, sys.argv[2:4])
per_host = BATCH_SIZE // num_hosts
if __name__ == "__main__":
    stream = opened(sys.argv[1])
    for num_workers, start, stop in json.loads(sys.argv[4]):
        batches = stream.batches(
            batch_size=BATCH_SIZE, rows=slice(host * per_host, (host + 1) * per_host),
            num_workers=num_workers, start=start * BATCH_SIZE, num_steps=stop - start,
        )
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


def run_hosts(config, *reads):
    """Return, for each read, [steps][rows] hashes of global batches, put together from the hosts' own rows.

    A read is the number of workers of every host, the first step and the one to stop at.
    """
    num_hosts = len(reads[0][0])
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", HOST, config, str(host), str(num_hosts)),
                json.dumps([(num_workers[host], start, stop) for num_workers, start, stop in reads]),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])},
        )
        for host in range(num_hosts)
    ]
    outputs = [process.communicate(timeout=120)[0].splitlines() for process in processes]
    assert not any(process.returncode for process in processes)
    return [
        [list(itertools.chain.from_iterable(rows)) for rows in zip(*map(json.loads, parts), strict=True)]
        for parts in zip(*outputs, strict=True)
    ]


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
    far = 10**9
    later = [row_hashes(pipeline.batch(far * BATCH_SIZE, batch_size=BATCH_SIZE))]
    assert run_hosts(config, ([3], 0, 6)) == [expected]
    of_two = run_hosts(config, ([0, 2], 0, 6), ([1, 0], 3, 6), ([0, 1], far, far + 1))
    assert of_two == [expected, expected[3:], later]
    assert run_hosts(config, ([1, 0, 0, 2], 0, 3)) == [expected[:3]]
