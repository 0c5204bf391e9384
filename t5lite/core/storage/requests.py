"""Requests to object storage: which failures pass, which are tried again, and what is said of them.

The clients try again by themselves, with longer and longer pauses: gcsfs six times within about 35 seconds
(408, 429, 5xx, cut connections), s3fs and botocore five times each. What is left after that is an error here.
"""

import errno
from collections.abc import Callable
from typing import Any, TypeVar

from t5lite.core.errors import TransientError, UserError

T = TypeVar("T")

_TRANSIENT_STATUS = frozenset((408, 429, *range(500, 600)))
_TRANSIENT_ERRNO = frozenset(
    # s3fs has EREMOTEIO for 500 InternalError, EBUSY for 503 SlowDown, EIO for what it does not know.
    (errno.EBUSY, errno.EIO, errno.EREMOTEIO, errno.ETIMEDOUT, errno.EAGAIN, errno.EPIPE)
)
_CONNECTION_ERRORS = frozenset(
    {
        *("ClientConnectionError", "ClientPayloadError"),  # aiohttp's
        *("ConnectionError", "HTTPClientError", "IncompleteReadError"),  # botocore's
        *("TransportError", "Timeout"),  # google.auth's, and that of requests beside its ConnectionError
    }
)
_CLIENTS = ("aiohttp", "botocore", "aiobotocore", "requests", "urllib3", "google", "gcsfs", "s3fs")


def requested(address: str, request: Callable[[], T]) -> T:
    """Return what a request to object storage answers.

    Raises:
      FileNotFoundError: if there is no such object.
      UserError: if it is refused for good (no access, no such bucket).
      TransientError: if the storage or the network failed for as long as the client tried.
    """
    try:
        return request()
    except (FileNotFoundError, FileExistsError):
        raise
    except Exception as error:  # of the clients' own kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if is_transient(error):
            raise TransientError(
                f"{address}: object storage does not answer ({reason}), tried until now; start the "
                "same command again when it does"
            ) from error
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS:
            raise UserError(
                f"{address} cannot be used ({reason}); check the bucket, its permissions and your credentials"
            ) from error
        raise


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may do later what it did not do now."""
    status: Any = getattr(error, "code", None) or getattr(error, "status", None)
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNO:
        return True
    if isinstance(status, int) and status:
        return status in _TRANSIENT_STATUS
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    # The clients' own errors of connections, which are none of Python's, have these names in their lines.
    return not _CONNECTION_ERRORS.isdisjoint(each.__name__ for each in type(error).__mro__)
