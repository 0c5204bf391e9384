"""How one of several processes ends."""

import errno

import jax
import pytest

from t5lite.core import process_end
from t5lite.core.errors import ConfigError
from t5lite.partitioning.lost_processes import failing_fast


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (ConfigError("batch_size=3"), 2, "t5lite: process 0: batch_size=3\n"),
        (OSError(errno.ENOSPC, "disk full"), 75, "permissions and limits, then run again\n"),
        (
            ValueError("UNKNOWN: Gloo AllGather failed\nby peer"),
            75,
            "go on from the newest checkpoint\n",
        ),
        (KeyboardInterrupt(), 130, "t5lite: process 0: interrupted\n"),
        (ZeroDivisionError("a bug"), 1, "ZeroDivisionError: a bug\n"),
    ],
)
def test_one_process_of_several_ends_at_once(monkeypatch, capsys, error, code, printed):
    class Ended(BaseException):
        pass

    def end(code):
        raise Ended(code)

    monkeypatch.setattr(process_end.os, "_exit", end)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(Ended) as ended, failing_fast():
        raise error
    assert ended.value.args == (code,)
    assert capsys.readouterr().err.endswith(printed)


def test_a_process_alone_raises(monkeypatch):
    with pytest.raises(KeyboardInterrupt), failing_fast():
        raise KeyboardInterrupt
