"""TensorBoard scalars without TensorFlow or PyTorch.

The two well-kept writers import one of them wherever it is installed (tensorboardX: torch, tensorboard:
tensorflow), which costs seconds of start-up and hundreds of megabytes. What is needed here is one record
type in the TFRecord framing, so it is written out: an ``Event`` protocol buffer with ``wall_time`` (1),
``step`` (2), ``file_version`` (3), ``summary`` (5) of ``value`` (1) with ``tag`` (1), ``simple_value`` (2).
Why: docs/adr/0004-own-tensorboard-writer.md.
"""

import math
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from t5lite.core.files import make_directory
from t5lite.core.protobuf import field, fixed_field
from t5lite.core.storage.addresses import StoragePath
from t5lite.core.storage.growing_files import GrowingFile
from t5lite.core.storage.growing_objects import GrowingObjects

_CRC32C_POLYNOMIAL = 0x82F63B78


class ScalarWriter:
    """Appends scalars to a new event file in ``directory``, or to event files of about 1 MiB in a bucket.

    Args:
      directory: log directory of the run.
      purge_step: hide what earlier event files of the directory hold from this step on; None keeps all.
      keeps: whether what a disk does not take is kept and written later; else that is an error.
    """

    def __init__(self, directory: StoragePath, *, purge_step: int | None = None, keeps: bool = True) -> None:
        make_directory(directory)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._records: GrowingFile | GrowingObjects
        if isinstance(directory, Path):
            self._records = GrowingFile(directory / name, keeps=keeps)
        else:
            # Readers take a file without the version for one of today's.
            self._records = GrowingObjects(directory, name)
        self._write(field(3, b"brain.Event:2"))
        if purge_step is not None:
            session_start = field(7, field(1, 1))  # SessionLog.START
            self._write(field(2, purge_step) + session_start)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append one event with these values; on a disk with space it is with the operating system then."""
        values = b"".join(
            field(1, field(1, tag.encode()) + fixed_field(2, _float32(value)))
            for tag, value in scalars.items()
        )
        self._write(field(2, step) + field(5, values))

    def flush(self) -> None:
        """Put what was written where a kill does not lose it."""
        self._records.flush()

    def forget(self) -> None:
        """Do not put what was written and is not put yet."""
        self._records.forget()

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, event: bytes) -> None:
        record = fixed_field(1, struct.pack("<d", time.time())) + event
        length = struct.pack("<Q", len(record))
        self._records.append(length + _masked_crc(length) + record + _masked_crc(record))


def _float32(value: float) -> bytes:
    """Return the four bytes of a value; what float32 does not reach, as a perplexity of 1e40, is infinite."""
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_CRC32C_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _table()


def _masked_crc(data: bytes) -> bytes:
    """Return TFRecord's checksum: CRC-32C, rotated and offset, little-endian."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
