"""``t5lite train`` on data of which some examples make the loss NaN; may kill itself within a rollback.

Arguments: the first and the last poisoned place, where to die (``-`` for nowhere), and those of ``t5lite``.
"""

import os
import signal
import sys

import numpy as np

from t5lite.cli.main import main
from t5lite.data.source_pipeline import Pipeline
from t5lite.runner import rollback


def poison(first: int, last: int) -> None:
    rows = Pipeline.rows

    def poisoned(self, places):
        fields = rows(self, places)
        weights = fields["decoder_loss_weights"]
        weights[(places >= first) & (places <= last)] = np.nan
        return fields

    Pipeline.rows = poisoned


def die_at(place: str) -> None:
    write = rollback._write

    def write_and_die(*arguments):
        if place == "write":
            os.kill(os.getpid(), signal.SIGKILL)
        write(*arguments)
        if place == "restart":
            os.kill(os.getpid(), signal.SIGKILL)

    rollback._write = write_and_die


if __name__ == "__main__":
    poison(int(sys.argv[1]), int(sys.argv[2]))
    die_at(sys.argv[3])
    sys.exit(main(sys.argv[4:]))
