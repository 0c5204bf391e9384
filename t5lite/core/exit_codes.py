"""The exit codes of ``t5lite``: what a scheduler must know about a run that ended."""

import enum


class ExitCode(enum.IntEnum):
    """How a command ended.

    Schedulers restart on some codes and give up on others: ``launch`` renders their policies from
    ``restarts``. Codes from 128 are a shell's: 128 and the signal that stopped the run, after it saved.
    """

    DONE = 0
    USER_ERROR = 2
    """What the user gave cannot be used as it is; another start would end in the same way."""
    DOES_NOT_FIT = 3
    """A run does not fit the devices: as it is planned, or as it was tried."""
    BAD_NUMBERS = 4
    """The numbers went bad (not finite, a loss spike) and stayed so; another start would meet them again."""
    TRANSIENT = 75
    """The machine, its disk, store or network failed; another start goes on (``EX_TEMPFAIL`` of sysexits)."""
    HANG = 76
    """A phase passed its deadline, and the watchdog ended the process; another start goes on."""
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def restarts(self) -> bool:
        """Whether a scheduler should start the same command again."""
        return self in (self.TRANSIENT, self.HANG, self.HANGUP, self.TERMINATED)
