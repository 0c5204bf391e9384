import gc
import threading
import time

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.host_loader import LoaderConfig, device_batches, local_rows


@pytest.fixture(scope="module")
def sharding():
    mesh = jax.make_mesh((1,), ("fsdp",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    return NamedSharding(mesh, PartitionSpec("fsdp"))


class Source:
    """Counts up; remembers that it was closed."""

    def __init__(self, limit, error=None):
        self.limit, self.error, self.closed, self.given = limit, error, False, 0

    def __iter__(self):
        while self.given < self.limit:
            self.given += 1
            yield {"tokens": np.full((4, 2), self.given, np.int32)}
        if self.error is not None:
            raise self.error

    def close(self):
        self.closed = True


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name == "device_batches"]


def test_batches_arrive_in_order_as_global_arrays(sharding):
    source = Source(5)
    with device_batches(source, sharding=sharding) as batches:
        received = list(batches)
    assert [int(batch["tokens"][0, 0]) for batch in received] == [1, 2, 3, 4, 5]
    assert all(batch["tokens"].sharding == sharding for batch in received)
    assert source.closed
    assert not loader_threads()
    assert next(batches, None) is None


def test_only_so_many_batches_are_prepared_ahead(sharding):
    source = Source(1000)
    with device_batches(source, sharding=sharding, prefetch=2) as batches:
        next(batches)
        time.sleep(0.3)
        assert source.given <= 1 + 2 + 1  # taken, ready, waiting for a place
    assert source.closed


def test_waiting_is_measured(sharding):
    def slow():
        for _ in range(3):
            time.sleep(0.1)
            yield {"tokens": np.zeros((4, 2), np.int32)}

    batches = device_batches(slow(), sharding=sharding)
    assert len(list(batches)) == 3
    assert 0.2 < batches.wait_seconds < 5


def test_an_error_of_the_source_reaches_the_consumer_after_the_batches_before(sharding):
    source = Source(1, error=DataError("page 3 is damaged"))
    batches = device_batches(source, sharding=sharding)
    next(batches)
    with pytest.raises(DataError, match="page 3"):
        next(batches)
    assert source.closed
    assert next(batches, None) is None


def test_dropping_the_iterator_ends_its_thread(sharding):
    batches = device_batches(Source(1000), sharding=sharding)
    next(batches)
    assert loader_threads()
    del batches
    gc.collect()
    assert not loader_threads()


def test_prefetch_of_zero(sharding):
    with pytest.raises(ConfigError, match="prefetch=0"):
        device_batches(Source(1), sharding=sharding, prefetch=0)


@pytest.mark.parametrize("values", [{"num_workers": -1}, {"prefetch": 0}])
def test_loader_settings_out_of_range(values):
    with pytest.raises(ConfigError, match=rf"loader\.{next(iter(values))}"):
        LoaderConfig(**values)


def test_one_process_loads_all_rows(sharding):
    assert local_rows(sharding, 12) == slice(0, 12)
