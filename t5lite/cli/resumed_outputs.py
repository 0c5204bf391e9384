"""Outputs of a command that was cut off: gone on from where they end, if they are of the same.

Lines of text are not: an input may have several there, or fewer than were asked for.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from t5lite.cli.shards import Shard
from t5lite.core.errors import DataError
from t5lite.core.files import part_of, write_json
from t5lite.core.json_text import load_json
from t5lite.core.storage.addresses import StoragePath


class Part(NamedTuple):
    """What of a file that was cut off holds whole outputs."""

    num_outputs: int
    num_bytes: int


ReadPart = Callable[[StoragePath, Sequence[str]], Part]
"""From the file that outputs become and all inputs to what is there; the last of all is written again.

It raises a DataError where the outputs are not of the inputs.
"""

_DECIDE_NOTHING = (
    "run",
    "step",
    "text",
    "input_file",
    "field",
    "output_file",
    "batch_size",
    "on_invalid_utf8",
    "shard",
)
"""Options that decide nothing of an output, or are compared otherwise where outputs are gone on from."""
_SAME = {
    "run": "another run",
    "options": "other options",
    "inputs_sha256": "other inputs",
    "step": "another step",
    "shard": "another shard",
}
"""What must be the same, and what there is if not."""


def deciding_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a command's options that have to be the same where its outputs are gone on from."""
    return {name: value for name, value in options.items() if name not in _DECIDE_NOTHING}


@dataclass(frozen=True)
class Resumption:
    """What of a file's outputs is there already, and of what they are: kept beside them until they are whole.

    Attributes:
      path: the file; None for standard output, of which nothing is kept.
      command: that writes it.
      origin: run, options, inputs and shard; nothing where outputs are not gone on from.
      num_outputs: that are there.
      num_bytes: that hold them; what follows is half an output.
      step: of the checkpoint that wrote them; None where there are none.
      shard: of the inputs that is written; None for all of them.
    """

    path: StoragePath | None
    command: str
    origin: Mapping[str, Any]
    num_outputs: int = 0
    num_bytes: int = 0
    step: int | None = None
    shard: Shard | None = None

    @classmethod
    def of(
        cls,
        path: StoragePath | None,
        *,
        command: str,
        run: str,
        options: Mapping[str, Any],
        inputs: Sequence[str],
        read_part: ReadPart | None,
        shard: Shard | None = None,
    ) -> "Resumption":
        """Return what there is of the outputs that are to be written.

        Args:
          path: the file that they become; None for standard output.
          command: that writes them.
          run: absolute location of the run.
          options: that decide what is written.
          inputs: all of them, of all shards.
          read_part: finds what is there; None for a file that is not gone on with.
          shard: of the inputs that is written, to be joined with others beside it.

        Raises:
          DataError: if what is there is of something else, or not known to be of this, or damaged.
        """
        if path is None:
            return cls(None, command, {})
        if read_part is None:
            if part_of(path).exists():
                raise other_part(path, f"and {path.suffix or 'such files'} are not gone on with")
            return cls(path, command, {})
        digest = hashlib.sha256()
        for text in inputs:
            digest.update(json.dumps(text).encode())
        told = json.loads(json.dumps(dict(options), default=str))  # as it is read back
        origin = {
            "run": run,
            "options": told,
            "inputs_sha256": digest.hexdigest(),
            "shard": None if shard is None else str(shard),
        }
        fresh = cls(path, command, origin, shard=shard)
        fresh._check_other_shards(origin)
        if not part_of(path).exists():
            return fresh
        found = _read_origin(path)
        if what := _other(found, origin):
            raise other_part(path, f"of {what}")
        own = inputs if shard is None else inputs[shard.block(len(inputs))]
        num_outputs, num_bytes = read_part(path, own)
        return replace(fresh, num_outputs=num_outputs, num_bytes=num_bytes, step=found["step"])

    def check_step(self, step: int) -> None:
        """Check that outputs of a step may follow.

        Raises:
          DataError: if those that are there are of another one, or other shards are.
        """
        if self.path is not None and self.num_outputs and step != self.step:
            raise DataError(
                f"{part_of(self.path)} holds {self.num_outputs:,} outputs of step {self.step}, and this is "
                f"step {step}; go on with --step {self.step}, or move or delete it"
            )
        self._check_other_shards({**self.origin, "step": step})

    def _check_other_shards(self, origin: Mapping[str, Any]) -> None:
        """Check that other shards beside it are of the same, while they are written or cut off."""
        if self.path is None or self.shard is None or not self.path.parent.is_dir():
            return
        there = {each.name for each in self.path.parent.iterdir()}
        common = {name: value for name, value in origin.items() if name != "shard"}
        for other in self.shard.others(self.path):
            if _origin_of(other).name not in there:
                continue
            try:
                found = _read_origin(other)
            except DataError:  # whole meanwhile, or damaged, of which its own command tells
                continue
            if what := _other(found, common):
                raise DataError(
                    f"{_origin_of(other)} is of {what} than shard {self.shard}, and shards of one output are "
                    "joined; give all of them the same --run, --step, inputs and options, or another "
                    "--output-file"
                )

    def begin(self, step: int) -> None:
        """Keep what the outputs that follow are of, and say what is gone on from; no other process writes."""
        if self.path is None or not self.origin:
            return
        write_json(_origin_of(self.path), {**self.origin, "step": step})
        if self.num_outputs:
            there = f"{self.num_outputs:,} outputs are in {part_of(self.path)} already: going on after them"
            print(f"t5lite {self.command}: {there}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Forget it where there is nothing to go on from: the outputs are whole, or there are none."""
        if self.path is not None and self.origin and not part_of(self.path).exists():
            _origin_of(self.path).unlink(missing_ok=True)


def _origin_of(path: StoragePath) -> StoragePath:
    return part_of(path).with_name(f"{part_of(path).name}.json")


def _other(found: Mapping[str, Any], origin: Mapping[str, Any]) -> str | None:
    """Return what is not the same; None if all is."""
    return next(
        (what for name, what in _SAME.items() if name in origin and found.get(name) != origin[name]), None
    )


def _read_origin(path: StoragePath) -> dict[str, Any]:
    try:
        found = load_json(_origin_of(path))
    except (OSError, ValueError) as error:
        raise other_part(path, f"and {_origin_of(path).name}, which says of what, cannot be read") from error
    if not isinstance(found, dict) or not isinstance(found.get("step"), int):
        raise other_part(path, f"and {_origin_of(path).name} does not say of what")
    return found


def json_lines(path: StoragePath, inputs: Sequence[str]) -> Part:
    """Return what of JSON lines is there (``ReadPart``), each of which names its input."""
    # After the last line break is half a line.
    lines = part_of(path).read_bytes().split(b"\n")[:-1][: len(inputs) - 1]
    for number, (line, text) in enumerate(zip(lines, inputs, strict=False), 1):
        try:
            holds = json.loads(line)["input"] == text
        except (ValueError, KeyError, TypeError):
            holds = False
        if not holds:
            raise other_part(path, f"and its line {number} is not of input {number}")
    return Part(len(lines), sum(len(line) + 1 for line in lines))


def other_part(path: StoragePath, what: str) -> DataError:
    """Return the error for outputs that cannot be gone on with."""
    return DataError(
        f"{part_of(path)} holds the outputs of an earlier run that was cut off, {what}; move or delete it, "
        "or give another --output-file"
    )
