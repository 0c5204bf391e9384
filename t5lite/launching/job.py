"""What is to be started, whichever machines it is for."""

import json
import re
import shlex
from dataclasses import dataclass

from t5lite import run_config
from t5lite.core.errors import ConfigError
from t5lite.run_config import RunConfig

_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_MAX_NAME = 40
"""Kubernetes makes host names of 63 characters from it, with the number of the slice and of the host."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and bytes of an argument that are not UTF-8."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run, to be started on some platform.

    Args:
      name: what the platform knows it by.
      config: of the run, with absolute paths.
      train_arguments: further words for ``t5lite train``.
      max_restarts: how often it is started again.
      flags: words for the platform's client, as they are.
    """

    name: str
    config: RunConfig
    train_arguments: tuple[str, ...] = ()
    max_restarts: int
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.name) > _MAX_NAME:
            raise ConfigError(
                f"--name {self.name!r} must be lower-case letters, digits and dashes, at most {_MAX_NAME}, "
                "from a letter to a letter or digit: clusters make host names of it (RFC 1123)"
            )
        if self.max_restarts < 0:
            raise ConfigError(f"--max-restarts {self.max_restarts} must be 0 (never) or more")
        for word in self.train_arguments:
            check_word("argument of t5lite train", word)
        for word in self.flags:
            check_word("--flag", word)

    @property
    def config_json(self) -> str:
        """The whole configuration in one line of ASCII."""
        return json.dumps(run_config.to_json(self.config))

    @property
    def shell_arguments(self) -> str:
        """The further words of ``t5lite train``, quoted for a POSIX shell, a space before each."""
        return "".join(f" {shlex.quote(word)}" for word in self.train_arguments)


def check_word(kind: str, word: str) -> None:
    """Check a word that is to be rendered.

    Raises:
      ConfigError: if it would not arrive as it is, or would end a line of a script or manifest.
    """
    if odd := _CONTROL.search(word):
        raise ConfigError(
            f"{kind} {word!r} holds {odd[0]!r}; line breaks, control characters and what is not UTF-8 do not "
            "reach a host unharmed"
        )


def default_name(stem: str) -> str:
    """Return a name made of a recipe's, such as ``pretrain-small`` of pretrain_small."""
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
