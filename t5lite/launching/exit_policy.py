"""Which ends of a process bring another start, in the words of those who start it.

What ``ExitCode`` does not know (a traceback, a crash, a process that was killed) is worth another start: the
run goes on from its last checkpoint, and the number of starts is bounded.
"""

from t5lite.core.exit_codes import ExitCode

FINAL = tuple(sorted(int(code) for code in ExitCode if not code.restarts))
"""Codes after which another start would do nothing, or end in the same way."""
FAILED_FOR_GOOD = tuple(code for code in FINAL if code != ExitCode.DONE)
MISTAKES = tuple(code for code in FAILED_FOR_GOOD if code < 128)
"""Those that t5lite gives by itself, not because of a signal."""
CRASHED = 1
"""Python's code for a traceback; also what a process leaves whose peers are gone."""
RESTARTED_BELOW_SIGNALS = (CRASHED, *(int(code) for code in ExitCode if code.restarts and code < 128))
"""Codes under 127 that bring another start, for those who want them named."""


def shell_pattern(codes: tuple[int, ...]) -> str:
    """Return codes as a pattern of bash's ``case``: ``2|3|4``."""
    return "|".join(map(str, codes))
