"""One of two processes that save while now one and now the other finds no space, and then one cannot read.

Arguments: its number, the port of the coordinator, the directory. Prints, as JSON, what became of every save,
and what is gone on from where the newest checkpoint is damaged in what process 1 wrote.
"""

import errno
import json
import os
import resource
import sys
import time
from pathlib import Path

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from orbax.checkpoint._src.metadata.checkpoint import _MetadataStoreImpl

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints, SaveFailedError
from t5lite.checkpointing.reading import available_steps, read_state
from t5lite.checkpointing.recovery import newest_readable
from t5lite.partitioning import multihost

NO_SPACE = {2: (0, "folder"), 4: (1, "file"), 6: (0, "file"), 8: (0, "times")}
"""By step: in which process, and for what."""


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sharding() -> NamedSharding:
    return NamedSharding(Mesh(jax.devices(), ("data",)), PartitionSpec("data"))


def run(process: int, directory: str) -> dict[int, list]:
    make_folder, write_times = os.mkdir, _MetadataStoreImpl.write
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    state = jax.jit(
        lambda: {"w": jax.random.normal(jax.random.key(0), (20_000,))},
        out_shardings={"w": sharding()},
    )()
    became: dict[int, list] = {}
    with Checkpoints(directory, CheckpointConfig(keep_last=10)) as checkpoints:
        for step in range(1, 10):
            who, what = NO_SPACE.get(step, (None, None))
            os.mkdir = refuse if (who, what) == (process, "folder") else make_folder
            _MetadataStoreImpl.write = refuse if (who, what) == (process, "times") else write_times
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (5000 if (who, what) == (process, "file") else soft, hard)
            )
            begun = time.monotonic()
            checkpoints.save(step, state, {"step": step})
            try:
                while not checkpoints.poll():
                    time.sleep(0.01)
                cause = None
            except SaveFailedError as error:
                cause = error.cause
            became[step] = [cause, time.monotonic() - begun]
    return became


def read_damaged(process: int, directory: str) -> list:
    shape = jax.ShapeDtypeStruct((20_000,), "float32", sharding=sharding())
    steps = available_steps(directory)
    if process == 0:
        for file in Path(directory, str(steps[-1]), "state", "ocdbt.process_1").rglob("d/*"):
            os.truncate(file, file.stat().st_size // 2)
    multihost.barrier("damaged")
    found = newest_readable(steps, lambda step: read_state(directory, step, {"w": shape}))
    return [found.step, found.damaged, found.reasons]


if __name__ == "__main__":
    jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", 2, int(sys.argv[1]))
    number, folder = int(sys.argv[1]), sys.argv[3]
    print(json.dumps([run(number, folder), read_damaged(number, folder)]))
