"""Requests to object storage: how long they may take, which are tried again, and what is said of failures.

The clients of ``gs://`` and ``s3://`` try again by themselves, with longer and longer pauses: gcsfs six times
within about 35 seconds (408, 429, 5xx, cut connections, 15 seconds without a byte), s3fs and botocore five
times each. What no client does is to end a request whose answer trickles, and what opens other addresses may
not try again at all. So each request is cut off after a while, and is tried three times where no client did.
"""

import errno
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from t5lite.core.errors import TransientError, UserError
from t5lite.core.storage.file_systems import CLIENTS
from t5lite.core.storage.retries import RETRIES

T = TypeVar("T")

_SECONDS = 150.0
"""That a request may take, all that its client tries again included, beside the time for its bytes."""
_BYTES_PER_SECOND = 1 << 17
"""That are transferred at least."""
_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 0.2

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
_UNKNOWN_TO_S3 = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"),
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "NotSignedUp"),
    }
)
"""What S3 answers to credentials that are old or wrong."""
_NO_CREDENTIALS = frozenset(
    {
        *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),  # botocore's
        *("TokenRetrievalError", "SSOError", "UnauthorizedSSOTokenError", "ProfileNotFound"),
        "GoogleAuthError",
    }
)
_CLIENTS = ("aiohttp", "botocore", "aiobotocore", "requests", "urllib3", "google", "gcsfs", "s3fs")


def within_bounds(files: Any, method: str, *arguments: Any, size: int = 0, **options: Any) -> Any:
    """Return what a method of an fsspec file system returns; a TimeoutError if it takes too long.

    Args:
      files: the file system.
      method: its name.
      arguments: of the method.
      size: bytes that are to be transferred, if they may be many.
      options: of the method.
    """
    if files.async_impl:  # else it has a thread, and no way to leave it
        options["timeout"] = _SECONDS + size / _BYTES_PER_SECOND
    return getattr(files, method)(*arguments, **options)


def requested(address: str, request: Callable[[], T]) -> T:
    """Return what a request to object storage answers; it may be made again.

    Raises:
      FileNotFoundError: if there is no such object. As any OSError of the system, it says so in words.
      UserError: if it is refused for good (no access, no such bucket).
      TransientError: if the storage or the network failed for as long as it was tried.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return request()
        except (UserError, TransientError):
            raise
        except (FileNotFoundError, FileExistsError) as error:
            number = errno.ENOENT if isinstance(error, FileNotFoundError) else errno.EEXIST
            raise OSError(number, os.strerror(number), address) from error
        except Exception as error:  # of the clients' own kinds
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            if _is_a_bug(address, error):
                raise
            if not is_transient(error):
                raise _refusal(address, error, reason) from error
            if attempt == _ATTEMPTS - 1 or _client_tried_again(address, error):
                raise TransientError(
                    f"{address}: object storage does not answer ({reason}), tried until now; start the "
                    "same command again when it does"
                ) from error
            RETRIES.count(f"{address}: {reason}")
            time.sleep(_FIRST_PAUSE_SECONDS * 4**attempt)
    raise AssertionError("the last attempt returns or raises")


def _client_tried_again(address: str, error: Exception) -> bool:
    """Whether the client did what can be done; it is cut off before that if it takes too long."""
    return address.partition("://")[0] in CLIENTS and type(error).__name__ != "FSTimeoutError"


def _is_a_bug(address: str, error: Exception) -> bool:
    """Whether an error is of no kind that a client of object storage tells of a request."""
    is_known = isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS
    return address.partition("://")[0] in CLIENTS and not is_known and not is_transient(error)


def _refusal(address: str, error: Exception, reason: str) -> UserError:
    """Return the user's error for what no later request mends."""
    scheme = address.partition("://")[0]
    remedy = "check the bucket, its permissions and your credentials"
    if scheme in CLIENTS and _lacks_credentials(error):
        remedy = f"your credentials are missing, old or wrong: {CLIENTS[scheme].login}"
    return UserError(f"{address} cannot be used ({reason}); {remedy}")


def _lacks_credentials(error: BaseException) -> bool:
    """Whether the storage does not know who asks, and not that it knows and refuses."""
    names = {each.__name__ for each in type(error).__mro__}
    is_unknown = _status(error) == 401 or _code(error) in _UNKNOWN_TO_S3
    return is_unknown or not _NO_CREDENTIALS.isdisjoint(names)


def is_transient(error: BaseException) -> bool:
    """Return whether the same request may do later what it did not do now."""
    if getattr(error, "retryable", None) is True:  # google.auth's
        return True
    status = _status(error)
    if status == 401:  # to s3fs an error of input and output, as all that it does not know
        return False
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNO:
        return True
    if status:
        return status in _TRANSIENT_STATUS
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    # The clients' own errors of connections, which are none of Python's, have these names in their lines.
    return not _CONNECTION_ERRORS.isdisjoint(each.__name__ for each in type(error).__mro__)


def _status(error: BaseException) -> int | None:
    """Return the status of the answer that an error tells of."""
    status: Any = getattr(error, "code", None) or getattr(error, "status", None)
    if status is None:
        status = _answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _code(error: BaseException) -> str | None:
    return _answer(error).get("Error", {}).get("Code")


def _answer(error: BaseException) -> dict[str, Any]:
    """Return what S3 answered, of the error that s3fs made of it."""
    answer = getattr(error.__cause__ or error, "response", None)
    return answer if isinstance(answer, dict) else {}
