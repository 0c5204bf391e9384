"""One of two processes that save while now one and now both of them find no space.

Arguments: its number, the port of the coordinator, the directory. Prints, as JSON, what became of every save.
"""

import errno
import json
import os
import resource
import sys
import time

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints, SaveFailedError

NO_SPACE = {2: (0, "folder"), 4: (1, "file"), 6: (0, "file")}
"""By step: in which process, and for what."""


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run(process: int, directory: str) -> dict[int, list]:
    mesh, make_folder = Mesh(jax.devices(), ("data",)), os.mkdir
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    state = jax.jit(
        lambda: {"w": jax.random.normal(jax.random.key(0), (20_000,))},
        out_shardings={"w": NamedSharding(mesh, PartitionSpec("data"))},
    )()
    became: dict[int, list] = {}
    with Checkpoints(directory, CheckpointConfig(keep_last=10)) as checkpoints:
        for step in range(1, 8):
            who, what = NO_SPACE.get(step, (None, None))
            os.mkdir = refuse if (who, what) == (process, "folder") else make_folder
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


if __name__ == "__main__":
    jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", 2, int(sys.argv[1]))
    print(json.dumps(run(int(sys.argv[1]), sys.argv[3])))
