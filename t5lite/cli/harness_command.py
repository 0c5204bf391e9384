"""``t5lite harness``: EleutherAI's lm-evaluation-harness, with runs among its models."""

import sys
from collections.abc import Sequence
from importlib import util

from t5lite.cli import xla
from t5lite.core.errors import ConfigError


def run(arguments: Sequence[str]) -> int:
    """Run the harness' own command line, whose model ``t5lite`` is a run directory."""
    if util.find_spec("lm_eval") is None:
        raise ConfigError("lm_eval is not installed; pip install 't5lite[harness]'")
    xla.configure()
    from lm_eval.__main__ import cli_evaluate

    given = sys.argv
    sys.argv = ["t5lite harness", *arguments]  # it reads no other
    try:
        cli_evaluate()
    finally:
        sys.argv = given
    return 0
