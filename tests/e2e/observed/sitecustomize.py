"""On PYTHONPATH, has every ``t5lite train`` write down the examples that its steps are given.

Python imports it at each start. What a step is given is on devices: a process tells what is on its own.
"""

import sys

if sys.orig_argv[1:4] == ["-m", "t5lite.cli.main", "train"]:
    from tests.e2e import observed_steps

    observed_steps.install()
