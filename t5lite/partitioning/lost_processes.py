"""How one process of several ends when it fails, or when another one is gone."""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from t5lite.core import machine_errors
from t5lite.core.errors import TransientError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.process_end import end_now

_WORDS = ("Gloo", "NCCL", "UNAVAILABLE:", "DEADLINE_EXCEEDED:", "ABORTED:", "CANCELLED:")
"""What XLA and JAX's coordination service say where a process does not take part any more."""
_ABORTED = (
    b"\nt5lite: native code gave up, for the reason above: most likely another process of this run is gone "
    b"or did not come; exit code 75: start all of them again\n"
)


@contextmanager
def failing_fast() -> Iterator[None]:
    """End the process at once if the block raises and other processes take part in the run.

    An ordinary exit would wait minutes in JAX's shutdown barrier for processes that in turn wait for this
    one in a collective; gone, it is noticed by the launcher and by the others. Exit codes are those of
    ``ExitCode``, 1 for a bug. A process that is alone raises as usual.
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
        told = _lost_process(error) or error
        code = machine_errors.exit_code(told)
        if code is None:
            traceback.print_exc()
            end_now(1)
        else:
            _end(machine_errors.description(told), code)


def _end(message: str, code: ExitCode) -> None:
    print(f"t5lite: process {jax.process_index()}: {message}", file=sys.stderr, flush=True)
    end_now(code)


def _lost_process(error: Exception) -> TransientError | None:
    """Return what to say of an error of a collective, or of the service that all processes share."""
    if not isinstance(error, (jax.errors.JaxRuntimeError, ValueError)):
        return None
    if not any(word in str(error) for word in _WORDS):
        return None
    reason = str(error).splitlines()[0][:200]
    return TransientError(
        f"another process of the run is gone or does not answer ({reason}); start all of them again: they go "
        "on from the newest checkpoint"
    )


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
    os.write(2, _ABORTED)
    end_now(ExitCode.TRANSIENT)


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
_on_abort = _HANDLER(_aborted)
"""For good: C calls it whenever that is."""
