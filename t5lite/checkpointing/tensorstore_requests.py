"""TensorStore's requests to object storage, for the arrays of checkpoints: bounded in time, and counted.

It tries again 32 times, up to half a minute apart, and has no limit of its own for one request: it would wait
for good for a server that takes it and never answers.
"""

import functools
import os

import tensorstore as ts

from t5lite.core.storage.retries import RETRIES

_BOUNDS = {
    "TENSORSTORE_CURL_CONNECT_TIMEOUT_SECONDS": "15",
    "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": "30",
    "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": "1024",
}
"""A request that transfers less than so many bytes a second for so long is tried again."""
_COUNTERS = ("/tensorstore/kvstore/gcs/retries", "/tensorstore/kvstore/s3/retries")


@functools.cache
def enable() -> None:
    """Bound and count the requests of this process; settings of the user's stay."""
    for name, value in _BOUNDS.items():
        os.environ.setdefault(name, value)
    RETRIES.add(_num_retries)


def _num_retries() -> int:
    """Return how many requests were tried again until now."""
    found = [metric for name in _COUNTERS for metric in ts.experimental_collect_matching_metrics(name)]
    return sum(value["value"] for metric in found for value in metric["values"])
