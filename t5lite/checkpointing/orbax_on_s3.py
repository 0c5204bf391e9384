"""Orbax on ``s3://``: it writes to disks and to ``gs://`` by itself, and is taught the third place here.

TensorStore has a driver for S3, but Orbax 0.12 asks for those of files and of GCS only, and would end a
checkpoint by a rename, which is no single act in S3. So where Orbax asks whether a path is of GCS, S3 counts
as one (a checkpoint is whole when its ``commit_success.txt`` is there), and TensorStore's driver of S3 is
what it gets. Nothing changes for other paths.
"""

import functools
import os
from typing import Any

from orbax.checkpoint._src.path import gcs_utils
from orbax.checkpoint._src.serialization import tensorstore_utils

_SCHEMES = ("gs://", "s3://")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Where S3 is, if it is not Amazon's: read by s3fs, but not by TensorStore."""
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Credentials in the environment."""


def enable() -> None:
    """Teach Orbax the paths of S3; once is enough."""
    if gcs_utils._GCS_PATH_PREFIX == _SCHEMES:
        return
    gcs_utils._GCS_PATH_PREFIX = _SCHEMES
    gcs_utils.get_kvstore_for_gcs = functools.partial(_kvstore, gcs_utils.get_kvstore_for_gcs)
    tensorstore_utils._use_gcs_driver = lambda directory: directory.startswith(_SCHEMES)
    tensorstore_utils._normalize_path = _normalized


def _kvstore(of_gcs: Any, address: str) -> dict[str, Any]:
    """Return what TensorStore opens a directory by."""
    scheme, _, rest = address.partition("://")
    if scheme != "s3":
        return of_gcs(address)
    bucket, _, path = rest.partition("/")
    endpoint, region = _first_set(_ENDPOINTS), _first_set(_REGIONS)
    spec: dict[str, Any] = {"driver": "s3", "bucket": bucket, "path": path}
    if endpoint:
        spec["endpoint"] = endpoint
        if region:  # else asked for at each opening, by a request that TensorStore does not count
            spec["aws_region"] = region
    if all(os.environ.get(name) for name in _KEYS):
        # They come first in any case; asked for all it knows, TensorStore complains of each file of ~/.aws
        # that is not there, some fifteen lines a save.
        spec["aws_credentials"] = {"type": "environment"}
    return spec


def _first_set(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _normalized(path: str) -> str:
    scheme, separator, rest = path.partition("://")
    return f"{scheme}{separator}{os.path.normpath(rest)}" if separator else os.path.normpath(path)
