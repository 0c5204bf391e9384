"""Peak of host memory while a state is saved and restored, against the size of that state.

``python benchmarks/checkpoint_memory.py [MIB [MIB_AT_A_TIME]]`` prints both, by default of a state of 512 MiB
that is read as training reads it. On a CPU the restored state is host memory, too.
"""

import ctypes
import gc
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax

from t5lite.checkpointing import reading
from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints

_SHAPE = (16, 512, 512)
_ARRAY_MIB = 16


class Peak(threading.Thread):
    """Watches the resident memory of this process; ``taken`` is the most bytes beyond those at its start."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        gc.collect()
        # What was freed may still be resident and is taken first: it would not be seen to be taken.
        ctypes.CDLL(None).malloc_trim(0)
        self.taken, self._base, self._watching = 0, _resident(), True

    def __enter__(self) -> "Peak":
        self.start()
        return self

    def run(self) -> None:
        """Look every five milliseconds."""
        while self._watching:
            self.taken = max(self.taken, _resident() - self._base)
            time.sleep(0.005)

    def __exit__(self, *exception: object) -> None:
        self._watching = False
        self.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(mebibytes: int = 512, mebibytes_at_a_time: int | None = None) -> None:
    """Save, restore and print."""
    max_host_bytes = None if mebibytes_at_a_time is None else mebibytes_at_a_time << 20
    num_arrays = mebibytes // _ARRAY_MIB
    state = {f"w{i}": jax.random.normal(jax.random.key(i), _SHAPE) for i in range(num_arrays)}
    size = sum(leaf.nbytes for leaf in jax.block_until_ready(state).values())
    reading.named_fingerprints(state)  # compiles
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
    with tempfile.TemporaryDirectory() as directory:
        with Checkpoints(directory, CheckpointConfig()) as checkpoints, Peak() as peak:
            checkpoints.save(1, state, {})
            checkpoints.wait()
        print(f"saving {size / 2**20:.0f} MiB: {peak.taken / size:.2f} of it beside the state")
        del state
        with Peak() as peak:
            jax.block_until_ready(reading.read_state(directory, 1, abstract, max_host_bytes=max_host_bytes))
        print(f"restoring it: {peak.taken / size:.2f} of it with the restored state")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
