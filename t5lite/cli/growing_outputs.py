"""What commands that write an output for each input share: the growing file, progress, what they say."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from t5lite.cli.resumed_outputs import Resumption
from t5lite.core.errors import DataError
from t5lite.core.files import check_apart, check_growing_file, check_new_file, growing_file, part_of
from t5lite.core.storage.addresses import StoragePath
from t5lite.training.progress import ProgressLine


def check_new_output(path: StoragePath, *, reads: Sequence[str | os.PathLike[str]]) -> None:
    """Check that outputs can be written to ``path`` and that nothing is lost by it, before long work.

    Args:
      path: the file.
      reads: the run directory and the input file, if there is one.

    Raises:
      UserError: if it is there, or another process writes it, or it lies in what is read.
    """
    check_new_file(path)
    check_apart(path, reads)
    if path.exists():
        raise DataError(f"--output-file {path} is there already; give another name, or delete it")
    check_growing_file(path)


@contextlib.contextmanager
def opened(resumption: Resumption) -> Iterator[TextIO]:
    """Yield the stream of a command's outputs; what is in a file that is cut off is said."""
    path = resumption.path
    if path is None:
        yield sys.stdout
        return
    begun = False
    try:
        with growing_file(path, kept_bytes=resumption.num_bytes) as stream:
            begun = True
            yield stream
    except BaseException:
        if begun and part_of(path).exists():
            more = "; the same command goes on after them" if resumption.origin else ""
            say(resumption.command, f"the outputs so far are in {part_of(path)}{more}")
        raise
    finally:
        if begun:
            resumption.end()


@contextlib.contextmanager
def progress_line(
    resumption: Resumption, num_more: int, *, batch_size: int
) -> Iterator[Callable[[int], None]]:
    """Yield what shows how many more inputs are done; one batch needs no showing."""
    if num_more <= batch_size:
        yield lambda number: None
        return
    num_there = resumption.num_outputs
    line = ProgressLine(
        start_step=num_there, total_steps=num_there + num_more, description=resumption.command
    )

    def show(number: int) -> None:
        line.advance(num_there + number)
        line.show(num_there + number, {})

    try:
        yield show
    finally:
        line.close()


def say(command: str, message: str) -> None:
    """Say something on standard error."""
    print(f"t5lite {command}: {message}", file=sys.stderr, flush=True)
