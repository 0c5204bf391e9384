"""The event files are what TensorBoard reads."""

import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from t5lite.training.tensorboard import ScalarWriter, _masked_crc


def _read(directory: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(directory))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_tensorboard_reads_the_scalars(tmp_path: Path):
    writer = ScalarWriter(tmp_path)
    writer.write(1, {"train/loss": 2.5, "eval/größe": -1.0})
    writer.write(300, {"train/loss": 1.5})
    writer.close()
    assert _read(tmp_path) == {"train/loss": [(1, 2.5), (300, 1.5)], "eval/größe": [(1, -1.0)]}


def test_what_float32_does_not_reach_is_infinite(tmp_path: Path):
    values = [3.4e38, 1e39, -1e300, math.inf, 1e-300]  # exp(89) and more: the perplexity of a diverged run
    writer = ScalarWriter(tmp_path)
    writer.write(1, {str(value): value for value in values})
    writer.close()
    written = {tag: events[0][1] for tag, events in _read(tmp_path).items()}
    expected = [pytest.approx(3.4e38), math.inf, -math.inf, math.inf, 0]
    assert [written[str(value)] for value in values] == expected


def test_a_resumed_run_hides_what_it_repeats(tmp_path: Path):
    first = ScalarWriter(tmp_path)
    for step in (10, 20, 30):
        first.write(step, {"loss": float(step)})
    first.close()
    second = ScalarWriter(tmp_path, purge_step=21)
    second.write(30, {"loss": 3.0})
    second.close()
    assert _read(tmp_path) == {"loss": [(10, 10.0), (20, 20.0), (30, 3.0)]}


def test_checksum_is_crc32c():
    # RFC 3720, B.4: the CRC-32C of 32 zero bytes is 8a9136aa; TFRecord rotates it by 15 and adds a constant.
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert _masked_crc(bytes(32)) == masked.to_bytes(4, "little")
