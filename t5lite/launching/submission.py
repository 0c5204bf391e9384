"""Handing a rendered file to the platform's client, which replaces this process."""

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from t5lite.core.errors import ConfigError
from t5lite.core.files import write_text


def start(text: str, path: Path, *, client: str, command: Callable[[str], Sequence[str]]) -> NoReturn:
    """Become the platform's client, whose exit code is then this command's.

    Args:
      text: what the client is to read. Its file is nameless, so that nothing is left whatever becomes of it.
      path: where the text is kept if the client is not here, for a machine that has it.
      client: the program that is needed.
      command: returns the words to run, given the name of the file.

    Raises:
      ConfigError: if the client is not here, saying how the file is used.
    """
    if shutil.which(client) is None:
        _keep(text, path)
        raise ConfigError(
            f"{client} is not on PATH: nothing was started. {path} holds all that is needed; where "
            f"{client} is: {shlex.join(command(str(path)))}"
        )
    with tempfile.TemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        sys.stdout.flush()
        words = list(command(f"/dev/fd/{file.fileno()}"))
        os.execvp(words[0], words)


def _keep(text: str, path: Path) -> None:
    if path.exists() and (not path.is_file() or path.read_text(encoding="utf-8") != text):
        raise ConfigError(f"{path} is there already, and is another file: move it away, or give --name")
    write_text(path, text)
