"""Of several who make the same file, one succeeds: on a disk and in buckets."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from t5lite.core.machine_errors import description
from t5lite.core.storage.addresses import place
from t5lite.core.storage.exclusive import create_exclusively


@pytest.fixture(params=["disk", "gcs", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path)
    return f"{request.getfixturevalue(request.param)}/{request.node.name.translate({91: '-', 93: '-'})}"


def test_one_of_many_makes_the_file(folder: str) -> None:
    path = place(f"{folder}/claim.json")
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: create_exclusively(path, b"%d" % n), range(8)))
    assert sum(made) == 1
    assert path.read_bytes() == b"%d" % made.index(True)
    assert not create_exclusively(path, b"another")


def test_who_made_the_file_and_never_heard_of_it_is_told_so(folder: str) -> None:
    path = place(f"{folder}/claim.json")
    assert create_exclusively(path, b"mine")
    assert create_exclusively(path, b"mine")


def test_a_disk_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    assert create_exclusively(tmp_path / "claim.json", b"one")
    assert not create_exclusively(tmp_path / "claim.json", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["claim.json"]


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*claim.json") as raised:
        create_exclusively(tmp_path / "claim.json", b"one")
    assert description(raised.value).startswith(f"{tmp_path / 'claim.json'}: No space left")
    assert list(tmp_path.iterdir()) == []
