"""Errors that are reported in one line: what failed, the values, what is allowed, what to do.

The command line prints such an error as one line and exits with its code; anything else is a bug and
keeps its traceback.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar

from t5lite.core.exit_codes import ExitCode


class ReportedError(Exception):
    """An error whose message is all that a user needs."""

    exit_code: ClassVar[ExitCode]


class UserError(ReportedError):
    """Something the user gave (configuration, data, checkpoint, mesh) cannot be used as it is."""

    exit_code = ExitCode.USER_ERROR


class DoesNotFitError(ReportedError):
    """The devices have too little memory for a run: another start on them would end in the same way."""

    exit_code = ExitCode.DOES_NOT_FIT


class NumbersError(ReportedError):
    """The numbers of a training went bad and stayed so: a new start would meet them again."""

    exit_code = ExitCode.BAD_NUMBERS


class TransientError(ReportedError):
    """A machine, disk, store or network failed: the same command, started again, goes on."""

    exit_code = ExitCode.TRANSIENT


class ConfigError(UserError):
    """A configuration value is unknown, out of range, or contradicts another one."""


class NewerVersionError(ConfigError):
    """A file was written by a newer t5lite: it is whole, and no reason to replace it."""


class DataError(UserError):
    """A text file, vocabulary or token store is missing, damaged, or does not fit."""


class CheckpointError(UserError):
    """A checkpoint or an exported model is missing, damaged, or belongs to another model."""


class DamagedCheckpointError(CheckpointError):
    """The files of a checkpoint are incomplete, or not what was saved; an older one may be whole."""


def question(name: str, allowed: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"`` for a ``name`` that is nearly one of ``allowed``, else nothing."""
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def suggestion(name: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'? Allowed: …"`` for an unknown ``name``.

    The close match comes first because it is what the reader wants; the whole list follows because
    the match may be wrong.
    """
    choices = sorted(allowed)
    hint = question(name, choices)
    return f";{hint and f' {hint}'} allowed: {', '.join(choices)}"
