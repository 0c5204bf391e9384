"""One writer for a run directory: a lease that is held while a run writes, on any file system or bucket.

A lease is a *claim*, ``lease/NNNNNN.json``, that was made exclusively, and a *beat* beside it that the holder
writes anew every ``heartbeat_seconds``. Whoever finds a claim whose beat stands still for the
``deadline_seconds`` that the claim says, by its own clock, makes the claim of the next number and deletes the
old one. A holder that slept meanwhile finds its claim gone and writes no more. Clocks of hosts are never
compared; nothing is renamed, appended to or locked: all that is asked of a bucket is to make an object that
is not there.
"""

import contextlib
import dataclasses
import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5lite.checkpointing.lease_holder import Holder, is_gone, this_process
from t5lite.core.bounded_reads import UnfitFileError, read_at_most
from t5lite.core.errors import ConfigError, ReportedError, TransientError, UserError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.files import make_directory, write_json
from t5lite.core.json_text import parse_json
from t5lite.core.machine_errors import exit_code
from t5lite.core.storage.addresses import StoragePath
from t5lite.core.storage.exclusive import create_exclusively

LEASE_FOLDER = "lease"
"""Name in the run directory."""
_MAX_BYTES = 1 << 20
_POLL_SECONDS = 0.5
_SHOWN_WITHIN_SECONDS = 10.0
_MOST_TRIES = 20
_CLEARED_WITHIN_SECONDS = 0.05
"""Of a directory that is removed while a claim is made in it; each try waits so long."""


@dataclass(frozen=True, kw_only=True)
class LeaseConfig:
    """How a run keeps others from writing to its directory."""

    heartbeat_seconds: float = 10.0
    """Between two signs of life of the run that holds the lease."""
    deadline_seconds: float = 60.0
    """Without one, after which another start, whatever its own says, may take the run over."""
    patience_seconds: float = 900.0
    """How long a start waits for a run of the same job, or one that saves and ends."""

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_seconds < float("inf"):
            raise ConfigError(f"lease.heartbeat_seconds={self.heartbeat_seconds} must be above 0")
        if not 3 * self.heartbeat_seconds <= self.deadline_seconds < float("inf"):
            raise ConfigError(
                f"lease.deadline_seconds={self.deadline_seconds} must be at least three times "
                f"lease.heartbeat_seconds={self.heartbeat_seconds}: one late sign of life is no death"
            )
        if not self.patience_seconds >= 0:
            raise ConfigError(f"lease.patience_seconds={self.patience_seconds} must be 0 or more")


@dataclass(frozen=True)
class Sighting:
    """What one look at a directory tells of the run that holds it."""

    holder: Holder | None
    """None: its claim is damaged."""
    is_gone: bool
    """Whether its process is known to be gone, because it ran on this machine."""
    is_stopping: bool
    """Whether it saves and ends."""
    beat: StoragePath
    """Written anew as a sign of life."""


class Lease:
    """The right to write to a run directory; ``held_lease`` takes and releases it."""

    def __init__(self, directory: StoragePath, config: LeaseConfig, say: Callable[[str], None]) -> None:
        self._folder = directory / LEASE_FOLDER
        self._config, self._say = config, say
        self.holder = this_process(config.deadline_seconds)
        self.waited_seconds = 0.0
        """For the run that held it before."""
        self._number = 0
        self._confirmed = time.monotonic()
        self._lost: ReportedError | None = None
        self._state = "running"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="lease", daemon=True)

    def acquire(self) -> None:
        """Take the lease, waiting for a holder that is about to end.

        Raises:
          UserError: if another run holds it, with who.
          TransientError: if object storage does not answer.
        """
        while True:
            known = _claims(self._folder)
            newest = max(known, default=0)
            if newest:
                started = time.monotonic()
                is_dead = self._outlives(newest, known[newest])
                self.waited_seconds += time.monotonic() - started
                if not is_dead:
                    continue
            number = newest + 1
            if self._makes(_claim(self._folder, number)):
                others = {each: holder for each, holder in _claims(self._folder).items() if each != number}
                if others.items() <= known.items():
                    break
                # Numbers begin anew when all is given back. Who came meanwhile saw this claim, or is seen.
                _claim(self._folder, number).unlink(missing_ok=True)
        self._number = number
        for path in _files(self._folder):
            if _number_of(path) < number:
                path.unlink(missing_ok=True)
        self._beat()
        self._thread.start()

    def _makes(self, claim: StoragePath) -> bool:
        """Make a claim; return False if another process has made it."""
        tries_left = _MOST_TRIES
        while True:
            try:
                make_directory(self._folder.parent)  # by itself: an error names what the user chose
                make_directory(self._folder)
                return create_exclusively(claim, _encoded(dataclasses.asdict(self.holder)))
            except (OSError, UserError) as error:
                tries_left -= 1
                if not (tries_left and self._may_be_cleared(error)):
                    raise
            time.sleep(_CLEARED_WITHIN_SECONDS)

    def _may_be_cleared(self, error: OSError | UserError) -> bool:
        """Whether an error is one of making a file in a directory that others remove meanwhile."""
        cause = error.__cause__ if isinstance(error, UserError) else error
        if not (isinstance(self._folder, Path) and isinstance(cause, OSError)):
            return False  # there are no directories in a bucket
        is_vanished = cause.errno == errno.EEXIST and not os.path.lexists(self._folder)
        return is_vanished or cause.errno in (errno.ENOENT, errno.ESTALE)

    def check(self) -> None:
        """Check that the lease is still held; to be called before what others must not overwrite.

        Raises:
          UserError: if another run has taken it over.
          TransientError: if nobody knows, because the storage did not answer for too long.
        """
        if self._lost is None:
            self._confirm()
        if self._lost is not None:
            raise self._lost

    def check_if_due(self) -> None:
        """Check as ``check`` does, but ask the storage only if the last confirmation is long ago."""
        if self._lost is not None or time.monotonic() - self._confirmed > self._config.deadline_seconds / 2:
            self.check()

    def stopping(self) -> None:
        """Tell whoever waits that this run saves and ends."""
        self._state = "stopping"
        with contextlib.suppress(ReportedError, OSError):
            self._beat()

    def release(self) -> None:
        """Give the lease back, and leave no trace of it."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        with contextlib.suppress(ReportedError, OSError):
            self._confirm()
            if self._lost is None:
                # The claim last: without it another run may start.
                _beat_file(self._folder, self._number).unlink(missing_ok=True)
                _claim(self._folder, self._number).unlink(missing_ok=True)
        if isinstance(self._folder, Path):
            with contextlib.suppress(OSError):  # somebody else's claim is in it
                self._folder.rmdir()

    def _outlives(self, number: int, holder: Holder | None) -> bool:
        """Wait until a claim is no longer the newest, or its holder is dead, by the deadline that it has set.

        Returns:
          Whether it is dead; its claim is still there then.

        Raises:
          UserError: if the holder lives and is not about to end.
        """
        who = str(holder or "a run that cannot be named (its claim is damaged)")
        first = beat = _read_beat(_beat_file(self._folder, number))
        is_same_job = holder is not None and holder.job is not None and holder.job == self.holder.job
        deadline = self._config.deadline_seconds
        if holder is not None and holder.deadline_seconds is not None:
            deadline = holder.deadline_seconds
        begin = last_change = time.monotonic()
        said = None
        while time.monotonic() - last_change < deadline:
            if _newest_claim(self._folder) != (number, holder):
                return False
            if holder is not None and is_gone(holder):
                self._say(f"taking over from {who}, which is gone")
                return True
            is_patient = time.monotonic() - begin < self._config.patience_seconds
            ends = is_patient and (is_same_job or beat.get("state") == "stopping")
            if not ends and beat != first:
                raise UserError(
                    f"{self._folder.parent} is being written to by {who}; wait for it to end or stop it, or "
                    "give another run_dir"
                )
            message = (
                f"waiting for {who}, which saves and ends" if ends else f"waiting for a sign of life of {who}"
            )
            if message != said:
                self._say(message)
                said = message
            time.sleep(min(_POLL_SECONDS, self._config.heartbeat_seconds))
            if (newer := _read_beat(_beat_file(self._folder, number))) != beat:
                beat, last_change = newer, time.monotonic()
        self._say(f"taking over from {who}: no sign of life for {deadline:g} s")
        return True

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(self._config.heartbeat_seconds):
            with contextlib.suppress(ReportedError, OSError):
                self._confirm()
                if self._lost is not None:
                    return
                self._beat()

    def _beat(self) -> None:
        write_json(
            _beat_file(self._folder, self._number),
            {"owner": self.holder.owner, "state": self._state, "count": time.monotonic()},
        )

    def _confirm(self) -> None:
        """Ask the storage whether the claim is there, and keep the answer."""
        started = time.monotonic()
        try:
            claimed = _holder(_claim(self._folder, self._number))
        except (ReportedError, OSError) as error:
            if started - self._confirmed > self._config.deadline_seconds:
                # What refuses this run (credentials that are old, say) would refuse the next start, too.
                kind = UserError if exit_code(error) == ExitCode.USER_ERROR else TransientError
                self._lost = kind(
                    f"{self._folder} did not answer for {started - self._confirmed:.0f} s ({error}), so "
                    "nobody knows whether this run may still write; start the same command again"
                )
            return
        if claimed is not None and claimed.owner == self.holder.owner:
            self._confirmed = started
            return
        newest = _newest_claim(self._folder)
        by = f"{newest[1] or 'another run'} has taken it over" if newest else "it was deleted"
        self._lost = UserError(
            f"this run no longer holds {self._folder.parent}: {by}, for it gave no sign of life for "
            f"{self._config.deadline_seconds:g} s; nothing more is written"
        )


@contextmanager
def held_lease(directory: StoragePath, config: LeaseConfig, say: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease of a run directory during the block; what ``acquire`` raises is raised.

    Directories that were made for it go with it, if nothing else was written there.
    """
    # In a bucket there are no directories, and to ask for its parents is to ask for all buckets.
    made = [each for each in (directory, *directory.parents) if isinstance(each, Path) and not each.exists()]
    lease = Lease(directory, config, say)
    try:
        lease.acquire()
        try:
            yield lease
        finally:
            lease.release()
    finally:
        with contextlib.suppress(OSError):  # there is something in it now
            for each in made:
                each.rmdir()


def sees_claim(directory: StoragePath, owner: str) -> bool:
    """Return whether the newest claim in ``directory`` is this owner's, soon: NFS shows new files late."""
    folder = directory / LEASE_FOLDER
    deadline = time.monotonic() + _SHOWN_WITHIN_SECONDS
    while True:
        newest = _newest_claim(folder)
        if newest is not None and newest[1] is not None and newest[1].owner == owner:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)


def sighting(directory: StoragePath) -> Sighting | None:
    """Return who holds the run directory, None if nobody does; nothing is written."""
    folder = directory / LEASE_FOLDER
    newest = _newest_claim(folder)
    if newest is None:
        return None
    number, holder = newest
    beat = _beat_file(folder, number)
    return Sighting(
        holder=holder,
        is_gone=holder is not None and is_gone(holder),
        is_stopping=_read_beat(beat).get("state") == "stopping",
        beat=beat,
    )


def _claim(folder: StoragePath, number: int) -> StoragePath:
    return folder / f"{number:06d}.json"


def _beat_file(folder: StoragePath, number: int) -> StoragePath:
    return folder / f"{number:06d}.beat"


def _read_beat(file: StoragePath) -> Mapping[str, object]:
    with contextlib.suppress(FileNotFoundError, ValueError):
        content = _parsed(file)
        return content if isinstance(content, dict) else {}
    return {}


def _files(folder: StoragePath) -> list[StoragePath]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return list(folder.iterdir())
    return []


def _claim_numbers(folder: StoragePath) -> list[int]:
    numbers = [_number_of(path) for path in _files(folder) if path.name.endswith(".json")]
    return [number for number in numbers if number]


def _claims(folder: StoragePath) -> dict[int, Holder | None]:
    """Return the holders (None: damaged) of all claims, by number."""
    return {number: _holder(_claim(folder, number)) for number in _claim_numbers(folder)}


def _newest_claim(folder: StoragePath) -> tuple[int, Holder | None] | None:
    """Return number and holder (None: damaged) of the newest claim, None if there is none."""
    newest = max(_claim_numbers(folder), default=0)
    return (newest, _holder(_claim(folder, newest))) if newest else None


def _holder(path: StoragePath) -> Holder | None:
    """Return what a claim says, None if it is gone or damaged."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Holder(**_parsed(path))
    return None


def _parsed(path: StoragePath) -> Any:
    """Return what a claim or a beat says; a UserError if nothing like it can be there, or it is kept back."""
    try:
        return parse_json(read_at_most(path, _MAX_BYTES))
    except PermissionError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}), so whether a run of another user writes to "
            f"{path.parent.parent} is not known; ask whoever owns that file, or give another run_dir"
        ) from error
    except OSError as error:
        if isinstance(error, (UnfitFileError, IsADirectoryError)) or error.errno == errno.ELOOP:
            raise UserError(f"{path} is none of a run's ({error.strerror}); delete it") from error
        raise


def _number_of(path: StoragePath) -> int:
    stem = path.name.partition(".")[0]
    return int(stem) if stem.isdecimal() else 0


def _encoded(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, indent=2).encode()
