"""One writer for a run directory, on a disk and in buckets."""

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from t5lite.checkpointing import lease as leases
from t5lite.checkpointing.lease import LeaseConfig, held_lease, sees_claim, sighting
from t5lite.core.errors import ConfigError, ReportedError, TransientError, UserError
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.core.storage.remote_path import RemotePath
from tests.stand_ins import STAND_INS

QUICK = LeaseConfig(heartbeat_seconds=0.05, deadline_seconds=1.0)
SILENT = LeaseConfig(heartbeat_seconds=1000, deadline_seconds=3000)
"""Of a holder that need give no sign of life while a test lasts."""


@contextmanager
def asleep(
    directory: StoragePath, say: Callable[[str], None] = print, config: LeaseConfig = QUICK
) -> Iterator[leases.Lease]:
    """Hold the lease as a run that is suspended: it promised signs of life, and gives none."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leases.Lease, "_beat_until_stopped", lambda lease: lease._stop.wait())
        held = held_lease(directory, config, say)
        lease = held.__enter__()
    try:
        yield lease
    finally:
        held.__exit__(None, None, None)


@pytest.fixture(params=["disk", "gcs"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    if request.param == "disk":
        return tmp_path / "runs" / "run"
    name = request.node.name.translate({ord("["): "-", ord("]"): None})
    return place(f"{request.getfixturevalue(request.param)}/{name}/run")


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_second_run_is_refused_with_who_holds_the_directory(
    directory: StoragePath, said: list[str]
) -> None:
    with held_lease(directory, QUICK, said.append) as first:
        assert sees_claim(directory, first.holder.owner)
        with (
            pytest.raises(UserError, match=f"is being written to by process {first.holder.pid} on "),
            held_lease(directory, QUICK, said.append),
        ):
            pass
        first.check()
    assert not directory.exists()  # no trace is left


def test_a_released_directory_is_taken_at_once_and_keeps_what_was_written(directory: StoragePath) -> None:
    said: list[str] = []
    for content in (b"one", b"two"):
        with held_lease(directory, SILENT, said.append):
            (directory / "file").write_bytes(content)
    assert (directory / "file").read_bytes() == b"two"
    assert [path.name for path in directory.iterdir()] == ["file"]
    assert not said


@pytest.mark.fault(
    "a run is suspended, or its host is lost, and another is started",
    "taken over after `lease.deadline_seconds` (60 s), at once on the same host if the process is gone; said",
    0,
)
def test_a_holder_without_a_sign_of_life_is_replaced_and_writes_no_more(directory: StoragePath) -> None:
    said: list[str] = []
    with asleep(directory, said.append) as sleeper:
        with held_lease(directory, QUICK, said.append) as successor:
            successor.check()
            for _ in range(2):  # it stays so
                with pytest.raises(UserError, match=f"process {successor.holder.pid} .* has taken it over"):
                    sleeper.check()
        with pytest.raises(UserError, match="no longer holds"):
            sleeper.check_if_due()
    assert len(said) == 2
    assert "waiting for a sign of life of" in said[0]
    assert "no sign of life for 1 s" in said[1]


@pytest.mark.parametrize(("promised", "own"), [(0.6, 3000.0), (3000.0, 0.6)])
def test_the_deadline_is_the_one_that_the_holder_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promised: float, own: float
) -> None:
    """A start with a shorter one would write beside a run that lives."""
    passed = 0.0

    def sleep(seconds: float) -> None:
        nonlocal passed
        passed += 10 * seconds

    holder, successor = (
        LeaseConfig(heartbeat_seconds=seconds / 3, deadline_seconds=seconds) for seconds in (promised, own)
    )
    with asleep(tmp_path, config=holder), monkeypatch.context() as patched:
        begin = time.monotonic()
        patched.setattr(leases, "time", SimpleNamespace(**vars(time)))
        patched.setattr(leases.time, "sleep", sleep)
        patched.setattr(leases.time, "monotonic", lambda: begin + passed)
        held = held_lease(tmp_path, successor, print)
        held.__enter__()
        patched.undo()
        held.__exit__(None, None, None)
    assert promised - 1e-6 < passed < promised + 10


def test_the_sleeper_does_not_take_the_lease_of_its_successor_away(directory: StoragePath) -> None:
    with asleep(directory) as sleeper, held_lease(directory, QUICK, print) as successor:
        sleeper.release()
        successor.check()


def test_a_process_of_this_machine_that_is_gone_is_replaced_at_once(tmp_path: Path, said: list[str]) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom t5lite.checkpointing.lease import *\n"
        "held = held_lease(Path(sys.argv[1]), LeaseConfig(), print)\nheld.__enter__()\nos._exit(9)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    assert process.wait(120) == 9
    with held_lease(tmp_path, LeaseConfig(), said.append):
        assert len(said) == 1
        assert "which is gone" in said[0]


@pytest.mark.fault(
    "a job is requeued, or started again, while the run before saves after a signal",
    "waits for that save, said",
    0,
)
def test_whoever_is_started_again_waits_for_the_last_save_of_its_job(
    directory: StoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    said: list[str] = []
    first = held_lease(directory, QUICK, said.append)
    first.__enter__()

    def say(message: str) -> None:
        said.append(message)
        first.__exit__(None, None, None)

    with held_lease(directory, QUICK, say) as second:
        second.check()
    assert len(said) == 1
    assert "waiting for process" in said[0]
    assert "job SLURM_JOB_ID=77" in said[0]
    assert "saves and ends" in said[0]


def test_another_job_of_the_same_name_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setenv("T5LITE_JOB", "pretrain")
    impatient = dataclasses.replace(QUICK, patience_seconds=0.2)
    with (
        held_lease(tmp_path, QUICK, said.append),
        pytest.raises(UserError, match=r"is being written to by process .*, job T5LITE_JOB=pretrain"),
        held_lease(tmp_path, impatient, said.append),
    ):
        pass
    assert "saves and ends" in said[0]


def test_whoever_says_that_it_ends_is_waited_for(directory: StoragePath) -> None:
    said: list[str] = []
    first = held_lease(directory, QUICK, said.append)
    first.__enter__().stopping()

    def say(message: str) -> None:
        said.append(message)
        first.__exit__(None, None, None)

    with held_lease(directory, QUICK, say) as second:
        second.check()
    assert "saves and ends" in said[0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"owner": "x"}', b"[" * 100_000, b"\xff"])
def test_a_damaged_claim_is_that_of_a_run_without_a_sign_of_life(
    tmp_path: Path, content: bytes, said: list[str]
) -> None:
    folder = tmp_path / leases.LEASE_FOLDER
    folder.mkdir()
    (folder / "000007.json").write_bytes(content)
    (folder / "000007.beat").write_bytes(content)
    (folder / "notes.json").write_text("not a claim")
    with held_lease(tmp_path, QUICK, said.append) as lease:
        lease.check()
        assert (folder / "000008.json").is_file()
        assert not (folder / "000007.json").exists()
    assert "cannot be named" in said[0]


@pytest.mark.parametrize("kind", [TransientError, UserError])
def test_a_lease_that_nobody_can_confirm_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[ReportedError]
) -> None:
    """Where the storage refuses, no scheduler is to start the run again."""
    with held_lease(tmp_path, SILENT, print) as lease:

        def fails(_: object) -> None:
            raise kind("the storage does not answer")

        monkeypatch.setattr(leases, "_holder", fails)
        lease.check()  # not confirmed, but not for long
        lease._confirmed -= SILENT.deadline_seconds + 1
        with pytest.raises(kind, match=r"did not answer for 30\d\d s"):
            lease.check()


def test_a_claim_that_somebody_deleted_is_lost(tmp_path: Path) -> None:
    with held_lease(tmp_path, SILENT, print) as lease:
        for path in (tmp_path / leases.LEASE_FOLDER).iterdir():
            path.unlink()
        with pytest.raises(UserError, match="it was deleted"):
            lease.check()


def test_a_claim_names_its_process(tmp_path: Path) -> None:
    with held_lease(tmp_path, SILENT, print) as lease:
        claim = json.loads((tmp_path / leases.LEASE_FOLDER / "000001.json").read_text())
        assert claim == dataclasses.asdict(lease.holder)
        assert not leases.is_gone(lease.holder)
        assert leases.is_gone(dataclasses.replace(lease.holder, born="1"))
        assert not leases.is_gone(dataclasses.replace(lease.holder, born="1", machine="another"))


@pytest.mark.parametrize(
    "settings",
    [
        {"heartbeat_seconds": 0},
        {"heartbeat_seconds": float("nan")},
        {"deadline_seconds": 29},
        {"patience_seconds": -1},
    ],
)
def test_deadlines_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        LeaseConfig(**settings)


def test_a_bucket_is_asked_for_nothing_above_the_run(gcs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may write objects need not be allowed to see the bucket, or all buckets."""
    monkeypatch.setattr(RemotePath, "exists", lambda path: pytest.fail(f"asked for {path}"))
    with held_lease(place(f"{gcs}/nothing-above/run"), SILENT, print) as lease:
        lease.check()


def test_who_comes_late_to_a_number_that_has_come_and_gone_does_not_hold_beside_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims, newest = leases._claims, leases._newest_claim
    with held_lease(tmp_path, QUICK, print) as before:
        gone = dataclasses.replace(before.holder, born="1")
    folder = tmp_path / leases.LEASE_FOLDER
    folder.mkdir()
    (folder / "000002.json").write_text(json.dumps(dataclasses.asdict(gone)))
    with held_lease(tmp_path, QUICK, print) as first:
        listed, looked = [{1: gone}], [(1, gone)]
        monkeypatch.setattr(leases, "_claims", lambda path: listed.pop() if listed else claims(path))
        monkeypatch.setattr(leases, "_newest_claim", lambda path: looked.pop() if looked else newest(path))
        with pytest.raises(UserError, match="is being written to by"), held_lease(tmp_path, QUICK, print):
            pass
        first.check()
        assert {path.name for path in folder.glob("*.json")} == {"000003.json"}


@pytest.mark.parametrize("stand_in", sorted(STAND_INS.keys() - {"nothing", "a link to nothing"}))
def test_what_is_no_claim_is_named_at_once_and_nobody_waits_for_it(stand_in: str, tmp_path: Path) -> None:
    (tmp_path / "lease").mkdir()
    STAND_INS[stand_in](tmp_path / "lease" / "000007.json")
    for look in (lambda: held_lease(tmp_path, QUICK, print).__enter__(), lambda: sighting(tmp_path)):
        with pytest.raises(UserError, match=r"lease/000007\.json is none of a run's \(.*\); delete it"):
            look()


def test_what_another_user_keeps_from_reading_is_never_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, max_bytes: int) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with held_lease(tmp_path, QUICK, print):
        monkeypatch.setattr(leases, "read_at_most", refuse)
        for look in (lambda: held_lease(tmp_path, QUICK, print).__enter__(), lambda: sighting(tmp_path)):
            with pytest.raises(
                UserError, match=r"000001\.json cannot be read .*; ask whoever owns"
            ) as refusal:
                look()
            assert "delete" not in str(refusal.value)
        monkeypatch.undo()


@pytest.mark.parametrize("gives_back", [False, True])
def test_of_two_that_start_together_one_waits_until_the_other_is_known_to_live(
    gives_back: bool, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second takes it (and gives it back) while the first is about to name its claim."""
    link, held = os.link, contextlib.ExitStack()

    def after_the_other(*names: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        held.enter_context(held_lease(tmp_path / "run", QUICK, said.append))
        if gives_back:
            held.close()
        link(*names)

    monkeypatch.setattr(os, "link", after_the_other)
    refused = pytest.raises(UserError, match="is being written to by process")
    expected = contextlib.nullcontext() if gives_back else refused
    with held, expected, held_lease(tmp_path / "run", QUICK, said.append) as lease:
        lease.check()
    assert not (tmp_path / "run" / "lease").exists()


@pytest.mark.parametrize("moment", [(leases, "is_gone"), (os, "link")])
def test_who_came_while_a_dead_run_was_taken_over_keeps_the_lease(
    moment: tuple[object, str], tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers begin anew when all is given back, so that the newcomer's claim has the number of the dead."""
    claim = tmp_path / "run" / leases.LEASE_FOLDER / "000001.json"
    claim.parent.mkdir(parents=True)
    dead = dataclasses.replace(leases.this_process(60.0), owner="dead", born="0")
    claim.write_bytes(leases._encoded(dataclasses.asdict(dead)))
    known, held, others = getattr(*moment), contextlib.ExitStack(), []

    def after_the_other(*arguments):
        monkeypatch.setattr(*moment, known)
        claim.unlink()
        others.append(held.enter_context(held_lease(tmp_path / "run", QUICK, said.append)))
        return known(*arguments)

    monkeypatch.setattr(*moment, after_the_other)
    with held:
        refused = pytest.raises(UserError, match="is being written to by process")
        with refused, held_lease(tmp_path / "run", QUICK, said.append):
            pass
        (other,) = others
        other.check()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE, errno.EEXIST])
@pytest.mark.parametrize("is_lasting", [False, True])
def test_a_folder_that_another_removes_meanwhile_is_made_again(
    number: int, is_lasting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what lasts it is another refusal; ``EEXIST`` is a directory's that is gone when it is looked at."""
    monkeypatch.setattr(leases, "_CLEARED_WITHIN_SECONDS", 0.0)
    name = "make_directory" if number == errno.EEXIST else "create_exclusively"
    known, failures = getattr(leases, name), itertools.count(1)

    def fails(*arguments):
        if is_lasting or next(failures) < 3:
            raise UserError("made in vain") from OSError(number, os.strerror(number))
        return known(*arguments)

    monkeypatch.setattr(leases, name, fails)
    expected = pytest.raises(UserError, match="made in vain") if is_lasting else contextlib.nullcontext()
    with expected, held_lease(tmp_path / "run", SILENT, print) as lease:
        lease.check()
    if not is_lasting:
        assert not (tmp_path / "run").exists()


def test_a_bucket_that_is_gone_is_asked_once(gcs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fails(path, content):
        asked.append(path)
        raise FileNotFoundError(errno.ENOENT, "no such bucket")

    monkeypatch.setattr(leases, "create_exclusively", fails)
    with pytest.raises(FileNotFoundError), held_lease(place(f"{gcs}/gone/run"), SILENT, print):
        pass
    assert len(asked) == 1
