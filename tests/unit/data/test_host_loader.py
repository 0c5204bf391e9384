import contextlib
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
        assert next(batches, None) is None
    assert [int(batch["tokens"][0, 0]) for batch in received] == [1, 2, 3, 4, 5]
    assert all(batch["tokens"].sharding == sharding for batch in received)
    assert source.closed
    assert not loader_threads()


def test_only_so_many_batches_are_prepared_ahead(sharding):
    source = Source(1000)
    with device_batches(source, sharding=sharding, prefetch=2) as batches:
        next(batches)
        time.sleep(0.3)
        assert source.given <= 1 + 2 + 1  # taken, ready, waiting for a place
    assert source.closed


def test_an_error_of_the_source_reaches_the_consumer_after_the_batches_before(sharding):
    source = Source(1, error=DataError("page 3 is damaged"))
    with device_batches(source, sharding=sharding) as batches:
        next(batches)
        with pytest.raises(DataError, match="page 3"):
            next(batches)
        assert next(batches, None) is None
    assert source.closed


def test_leaving_early_by_an_error_ends_the_thread_and_closes_the_source(sharding):
    source = Source(1000)
    with contextlib.suppress(KeyboardInterrupt), device_batches(source, sharding=sharding) as batches:
        next(batches)
        assert loader_threads()
        raise KeyboardInterrupt
    assert not loader_threads()
    assert source.closed


def test_prefetch_of_zero(sharding):
    with (
        pytest.raises(ConfigError, match="prefetch=0"),
        device_batches(Source(1), sharding=sharding, prefetch=0),
    ):
        pass


@pytest.mark.parametrize("values", [{"num_workers": -1}, {"prefetch": 0}])
def test_loader_settings_out_of_range(values):
    with pytest.raises(ConfigError, match=rf"loader\.{next(iter(values))}"):
        LoaderConfig(**values)


def test_one_process_loads_all_rows(sharding):
    assert local_rows(sharding, 12) == slice(0, 12)
