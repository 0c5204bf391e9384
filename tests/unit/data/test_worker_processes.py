import multiprocessing
import os
import re

import pytest

from t5lite.core.errors import TransientError
from t5lite.data import worker_processes
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.pipeline import open_pipeline
from t5lite.data.worker_processes import from_workers

pytestmark = pytest.mark.slow


@pytest.mark.fault(
    "a data worker is killed (out of memory)",
    "all workers are started again at the next item, said; nothing is skipped",
    0,
)
def test_a_worker_that_dies_is_replaced_and_the_stream_goes_on(text_store, caplog):
    pipeline = open_pipeline(PretrainingDataConfig(store=str(text_store), inputs_length=32))
    expected = [pipeline.batch(4 * step, batch_size=4) for step in range(12)]
    batches = pipeline.batches(batch_size=4, num_workers=2, num_steps=12)
    received = [next(batches) for _ in range(2)]
    kill_a_worker()
    received += batches
    assert not multiprocessing.active_children()
    assert len(received) == len(expected)
    for got, wanted in zip(received, expected, strict=True):
        assert {name: field.tobytes() for name, field in got.items()} == {
            name: field.tobytes() for name, field in wanted.items()
        }
    (record,) = caplog.records
    how = rf"one of the 2 data workers of process {os.getpid()} died of SIGKILL .*memory runs out"
    assert re.match(
        rf"{how}.*started again \(1 of 3 times in a row\), nothing is skipped", record.getMessage()
    )


@pytest.mark.fault("data workers die four times in a row", "the run ends and says so; a restart goes on", 75)
def test_workers_that_die_again_and_again_end_the_run_as_transient(text_store, caplog, monkeypatch):
    monkeypatch.setattr(worker_processes, "_MAX_DEATHS", 1)
    pipeline = open_pipeline(PretrainingDataConfig(store=str(text_store), inputs_length=32))
    batches = pipeline.batches(batch_size=4, num_workers=1)
    next(batches)
    kill_a_worker()
    message = "died of SIGKILL .*, for the 2. time in a row; start again, with fewer loader.num_workers"
    with pytest.raises(TransientError, match=message):
        list(_killing(batches, caplog.records))
    assert len(caplog.records) == 1


def _killing(batches, records):
    """Kill a worker whenever its predecessor's death was told."""
    told = 0
    for batch in batches:
        if len(records) > told:
            told = len(records)
            kill_a_worker()
        yield batch


def kill_a_worker() -> None:
    victim = multiprocessing.active_children()[-1]
    victim.kill()
    victim.join()


def test_no_steps_give_no_batches(text_store):
    pipeline = open_pipeline(PretrainingDataConfig(store=str(text_store), inputs_length=32))
    for num_workers in (0, 1):
        assert list(pipeline.batches(batch_size=2, start=10, num_steps=-2, num_workers=num_workers)) == []
    assert list(from_workers([], 1)) == []
