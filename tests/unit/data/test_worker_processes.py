import itertools
import multiprocessing
import os
import signal

import pytest

from t5lite.core.errors import DataError
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.pipeline import open_pipeline
from t5lite.data.worker_processes import from_workers


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_worker_that_dies_is_named_and_ends_the_stream(text_store, num_workers):
    pipeline = open_pipeline(PretrainingDataConfig(store=str(text_store), inputs_length=32))
    batches = pipeline.batches(batch_size=4, num_workers=num_workers)
    for _ in range(2):
        next(batches)
    victim = multiprocessing.active_children()[-1].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    message = rf"one of the {num_workers} data workers of process {os.getpid()} died of SIGKILL"
    with pytest.raises(DataError, match=message):
        list(itertools.islice(batches, 100))
    assert not multiprocessing.active_children()


def test_no_steps_give_no_batches(text_store):
    pipeline = open_pipeline(PretrainingDataConfig(store=str(text_store), inputs_length=32))
    for num_workers in (0, 1):
        assert list(pipeline.batches(batch_size=2, start=10, num_steps=-2, num_workers=num_workers)) == []
    assert list(from_workers([], 1)) == []
