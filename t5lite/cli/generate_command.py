"""``t5lite generate``: let a run write, greedily."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from t5lite.cli import xla
from t5lite.core.errors import DataError
from t5lite.core.files import write_text
from t5lite.runner.generation import generate


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write one output text for each input text, by greedy decoding."""

    run: str
    """Run directory."""
    text: tuple[str, ...] = ()
    """Input texts; ``--input-file`` and standard input are the alternatives."""
    input_file: Path | None = None
    """UTF-8 file with one input a line; - for standard input."""
    output_file: Path | None = None
    """Where to write one output a line; standard output by default."""
    step: int | None = None
    """Checkpoint step; the newest by default."""
    encoder_length: int = 512
    """Inputs are cut to this many tokens."""
    max_decode_length: int = 128
    """Most tokens generated for an input."""
    batch_size: int = 16
    """Inputs decoded at once."""


def run(arguments: Sequence[str]) -> int:
    """Generate and print."""
    parsed = tyro.cli(Arguments, prog="t5lite generate", args=list(arguments))
    inputs = _inputs(parsed)
    xla.configure()
    outputs = generate(
        parsed.run,
        inputs,
        step=parsed.step,
        encoder_length=parsed.encoder_length,
        max_decode_length=parsed.max_decode_length,
        batch_size=min(parsed.batch_size, len(inputs)),
    )
    lines = "".join(f"{' '.join(text.splitlines())}\n" for text in outputs)
    if parsed.output_file is None:
        sys.stdout.write(lines)
    else:
        write_text(parsed.output_file, lines)
    return 0


def _inputs(parsed: Arguments) -> list[str]:
    if bool(parsed.text) == (parsed.input_file is not None):
        raise DataError("give the inputs by exactly one of --text and --input-file (- for standard input)")
    if parsed.input_file is None:
        return list(parsed.text)
    try:
        content = sys.stdin.read() if str(parsed.input_file) == "-" else parsed.input_file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {parsed.input_file}: {error}") from None
    if not content.strip():
        raise DataError(f"{parsed.input_file} holds no text; give one input a line")
    return content.splitlines()
