"""How one process of several ends when it fails, or when another one is gone.

That one is gone is known by words: ``live_devices`` of ``jax.experimental.multihost_utils``, which JAX offers
instead, waits until every process that is alive asks as well, which one that failed by itself does not.
"""

import contextlib
import ctypes
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

from t5lite.core import machine_errors
from t5lite.core.errors import DoesNotFitError, TransientError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.process_end import end_now

_GONE = re.compile(
    r"\b(UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|CANCELLED): "  # JAX's coordination service, and TPU runtimes
    r"|Gloo"
    # Of NCCL only what it says of other processes and of the network between them; "unhandled cuda error" is
    # of this process's own device, and a library that cannot be loaded of its installation.
    r"|\b(NCCL|nccl).*(remote process exited|unhandled system error|ncclRemoteError|ncclSystemError)"
    r"|[Cc]onnection (closed by|reset by) (remote )?peer"
    r"|Megascale (hang detected|detects a hang)"
)
"""What XLA and JAX's coordination service say where a process does not take part any more."""
_OUT_OF_MEMORY = re.compile(r"RESOURCE_EXHAUSTED: .*(memory|allocate)", re.IGNORECASE)
"""What XLA says of its devices; a quota that is used up and a message that is too long are no memory."""
_SHOWN_CHARACTERS = 300
_ABORTED = (
    b"\nt5lite: native code gave up, for the reason above: most likely another process of this run is gone "
    b"or did not come; exit code 75: start all of them again\n"
)


@contextmanager
def failing_fast(stopped_by: Callable[[], signal.Signals | None] = lambda: None) -> Iterator[None]:
    """End the process at once if the block raises and other processes take part in the run.

    An ordinary exit would wait minutes in JAX's shutdown barrier for processes that in turn wait for this
    one in a collective; gone, it is noticed by the launcher and by the others. Exit codes are those of
    ``ExitCode``, 1 for a bug; 128 + a signal where another process is gone that may have got it, too. A
    process that is alone raises as usual.

    Args:
      stopped_by: returns the signal that asks this process to stop, None without one.
    """
    try:
        yield
    except KeyboardInterrupt:
        if jax.process_count() == 1:
            raise
        _end("interrupted", ExitCode.INTERRUPTED)
    except Exception as error:
        if jax.process_count() == 1:
            raise
        told = explained(error)
        code = machine_errors.exit_code(told)
        number = stopped_by()
        if number is not None and told is not error and code == ExitCode.TRANSIENT:
            code = ExitCode(128 + number)
        if code is None:
            traceback.print_exc()
            end_now(1)
        else:
            _end(machine_errors.description(told), code)


def _end(message: str, code: ExitCode) -> None:
    print(f"t5lite: process {jax.process_index()}: {message}", file=sys.stderr, flush=True)
    end_now(code)


def explained(error: Exception) -> Exception:
    """Return what to say of an error of the devices, or of the service that all processes share.

    Returns:
      A ``ReportedError``, or the error itself where it is neither out of memory nor of another process.
    """
    if not isinstance(error, (jax.errors.JaxRuntimeError, ValueError)):
        return error
    is_of_devices = isinstance(error, jax.errors.JaxRuntimeError)
    if is_of_devices and (found := _OUT_OF_MEMORY.search(str(error))):
        return DoesNotFitError(
            f"the devices have too little memory ({_line(found)}); take more of them or larger ones, a "
            "smaller batch, and to train more --step.num-microbatches or another --execution.remat: "
            "`t5lite plan` predicts what fits"
        )
    if jax.process_count() > 1 and (found := _GONE.search(str(error))):
        return TransientError(
            f"another process of the run is gone or does not answer ({_line(found)}); start all of them "
            "again: they go on from the newest checkpoint"
        )
    return error


def _line(found: re.Match[str]) -> str:
    """Return the beginning of the line in which it was found."""
    begin = found.string.rfind("\n", 0, found.start()) + 1
    return found.string[begin:].partition("\n")[0][:_SHOWN_CHARACTERS]


def end_aborts_as_transient() -> None:
    """Let native code that aborts end this process with ``ExitCode.TRANSIENT`` and a line that says so.

    That is how JAX's coordination service ends a process whose coordinator is gone, that could not join, or
    one of whose peers is silent for too long; it takes no callback of Python's.
    """
    set_handler = ctypes.CDLL(None).signal
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, _HANDLER), ctypes.c_void_p
    set_handler(signal.SIGABRT, _on_abort)


def _aborted(number: int) -> None:
    del number
    with contextlib.suppress(OSError):
        os.write(2, _ABORTED)
    end_now(ExitCode.TRANSIENT)


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
_on_abort = _HANDLER(_aborted)
"""For good: C calls it whenever that is."""
