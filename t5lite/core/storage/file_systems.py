"""What opens an address: fsspec's file systems, and what to install for them."""

import functools
from importlib import util
from typing import Any, NamedTuple

from t5lite.core.errors import DataError


class _Client(NamedTuple):
    """What opens the addresses of a scheme."""

    module: str
    extra: str
    login: str
    """What to do without credentials, or with old ones."""


_GOOGLE_LOGIN = (
    "log in by `gcloud auth application-default login`, or name the file of a key in "
    "GOOGLE_APPLICATION_CREDENTIALS"
)
_AWS_LOGIN = (
    "log in by `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
CLIENTS = {
    "gs": _Client("gcsfs", "t5lite[gcs]", _GOOGLE_LOGIN),
    "gcs": _Client("gcsfs", "t5lite[gcs]", _GOOGLE_LOGIN),
    "s3": _Client("s3fs", "t5lite[s3]", _AWS_LOGIN),
}
"""By scheme, what is needed to write to object storage; to read, any file system of fsspec's will do."""

_SILENT_SECONDS = 15
"""Without a byte, after which a request is tried again: s3fs's own; gcsfs would wait for good."""


def missing_extra(scheme: str) -> str | None:
    """Return what to install for the addresses of a scheme of ``CLIENTS``; None where it is there."""
    client = CLIENTS[scheme]
    return None if util.find_spec(client.module) else f"pip install '{client.extra}'"


@functools.cache
def _count_retries() -> None:
    from t5lite.core.storage.retries import RETRIES

    RETRIES.watch()


def _silence_bound() -> Any:
    import aiohttp  # gcsfs needs it

    return aiohttp.ClientTimeout(sock_connect=_SILENT_SECONDS, sock_read=_SILENT_SECONDS)


def file_system(address: str) -> Any:
    """Return the fsspec file system that opens ``address``.

    What a listing said is not kept: another process may have written since.

    Raises:
      DataError: if there is none, with what to install.
    """
    import fsspec  # only those who use object storage pay for it
    import fsspec.config

    scheme = address.partition("://")[0]
    if scheme in CLIENTS:
        # fsspec's own settings, because Orbax opens the same places by itself.
        names, settings = (scheme,), {"use_listings_cache": False}
        if CLIENTS[scheme].module == "gcsfs":
            names, settings = ("gs", "gcs"), settings | {"requests_timeout": _silence_bound()}
        for name in names:
            fsspec.config.conf[name] = settings | fsspec.config.conf.get(name, {})
        _count_retries()
    try:
        return fsspec.url_to_fs(address)[0]
    except (ImportError, ValueError) as error:
        client = CLIENTS.get(scheme)
        remedy = "check the address, or copy the files"
        if client is not None:
            is_missing = isinstance(error, ImportError)
            remedy = f"pip install '{client.extra}'" if is_missing else "check your credentials and settings"
        reason = str(error) or type(error).__name__  # gcsfs has a ValueError without a word
        raise DataError(f"{address} cannot be opened ({reason}); {remedy}") from error
