"""``t5lite generate``: let a run write."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from t5lite.checkpointing.reading import Step
from t5lite.cli import one_process, xla
from t5lite.cli.decoding_options import DecodingOptions
from t5lite.cli.generated_outputs import check_output, is_json_lines, terminal_text, write_outputs
from t5lite.cli.resumed_outputs import Resumption
from t5lite.core import command_line
from t5lite.core.errors import DataError
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import absolute_location, place
from t5lite.data.reading.input_files import compression
from t5lite.data.reading.lines import Line, decode_lines, read_lines
from t5lite.data.reading.record_texts import FileReading, InvalidUtf8
from t5lite.runner.averages import Average
from t5lite.runner.generation import start_generation

_JSONL = (".jsonl", ".ndjson", ".json")
_TABLES = (".csv", ".tsv", ".parquet", ".arrow", ".array_record")

_DECIDE_NOTHING = (
    "run",
    "step",
    "text",
    "input_file",
    "field",
    "output_file",
    "batch_size",
    "on_invalid_utf8",
)
"""Options that decide nothing of an output, or are compared otherwise where one is gone on from."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write an output text for each input text, by greedy search or another strategy.

    An encoder-decoder answers an input, a decoder-only model continues it (the continuation alone is
    written), a masked language model fills in its [MASK], a classifier of texts names the class.
    """

    run: str
    """Run directory."""
    text: tuple[str, ...] = ()
    """Input texts; ``--input-file`` and standard input are the alternatives."""
    input_file: str | None = None
    """UTF-8 file (also .gz, .xz, .zst) with one input a line, or .jsonl; - for lines on standard input."""
    field: str = "text"
    """Field of a .jsonl input that holds the text."""
    output_file: str | None = None
    """New file, apart from the run: an output a line, or JSON lines in .jsonl; standard output by default.
    Of JSON lines, the same command goes on where an earlier one was cut off."""
    step: Step = "newest"
    """Checkpoint: the number of its step, newest, or best (on held-out data)."""
    average: Average | None = None
    """Take the mean of so many checkpoints, this one the last, or ema, the moving average in it; by default
    what made the best one the best, and 1 (its own parameters) of others."""
    encoder_length: int | None = None
    """Inputs are cut to this many tokens (what is to be continued loses its beginning); by default what the
    run was trained on, of an imported model what it has positions for."""
    max_decode_length: int | None = None
    """Most tokens generated for an input; by default what the run was trained on, of text 128 at most."""
    batch_size: int = 16
    """Inputs decoded at once."""
    on_invalid_utf8: InvalidUtf8 = "error"
    """Refuse invalid UTF-8 in the input, or replace each invalid byte by U+FFFD."""
    decoding: Annotated[DecodingOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=DecodingOptions
    )
    """How texts are written."""

    def __post_init__(self):
        expand_fields(self, "run", "input_file", "output_file")


def run(arguments: Sequence[str]) -> int:
    """Generate and print."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite generate")
    decoding = parsed.decoding.config()
    inputs = _inputs(parsed)
    reads = [parsed.run] if parsed.input_file is None else [parsed.run, parsed.input_file]
    output = None if parsed.output_file is None else place(parsed.output_file)
    check_output(output, reads=reads)
    if decoding.log_probs and not is_json_lines(output):
        raise DataError("--log-probs are written to JSON lines; give --output-file NAME.jsonl")
    resumption = Resumption.of(
        output,
        run=absolute_location(parsed.run),
        options={name: value for name, value in vars(parsed).items() if name not in _DECIDE_NOTHING},
        inputs=inputs,
        as_json=is_json_lines(output),
    )
    inputs = inputs[resumption.num_outputs :]
    one_process.say_so()
    xla.configure()
    batch_size, shown = min(parsed.batch_size, len(inputs)), terminal_text(output, inputs)
    generation = start_generation(
        parsed.run,
        inputs,
        step=parsed.step,
        average=parsed.average,
        encoder_length=parsed.encoder_length,
        max_decode_length=parsed.max_decode_length,
        batch_size=batch_size,
        decoding=decoding,
        first_index=resumption.num_outputs,
        show=shown,
    )
    write_outputs(generation, inputs, resumption, batch_size=batch_size, shown=shown)
    return 0


def _inputs(parsed: Arguments) -> list[str]:
    if bool(parsed.text) == (parsed.input_file is not None):
        raise DataError("give the inputs by exactly one of --text and --input-file (- for standard input)")
    if parsed.input_file is None:
        return [_utf8(text, parsed.on_invalid_utf8) for text in parsed.text]
    ending = _ending(Path(parsed.input_file))
    if ending in _TABLES:
        raise DataError(
            f"--input-file {parsed.input_file}: {ending} is not read; give one input a line, or JSON lines "
            f"({', '.join(_JSONL)}) with --field"
        )
    if parsed.input_file == "-":
        name = Path("standard input")
        lines = decode_lines(sys.stdin.buffer, name, on_invalid_utf8=parsed.on_invalid_utf8)
    else:
        name = parsed.input_file
        lines = read_lines(name, on_invalid_utf8=parsed.on_invalid_utf8)
    if ending in _JSONL:
        inputs = [_of_record(line, parsed) for line in lines if line.text.strip()]
    else:
        inputs = [line.text for line in lines]
    if not any(text.strip() for text in inputs):
        raise DataError(f"{name} holds no text; give one input a line")
    return inputs


def _ending(path: Path) -> str:
    """Return what the name of the uncompressed file ends in."""
    return (path.with_suffix("") if compression(path) else path).suffix.lower()


def _of_record(line: Line, parsed: Arguments) -> str:
    reading = FileReading(path=line.path, on_invalid_utf8=parsed.on_invalid_utf8)
    texts = reading.json_texts(line.text, (parsed.field,), line.place)
    if texts is None:  # to leave it out would set outputs against other inputs
        reading.check_fields()
        raise DataError(f"{line.place} field {parsed.field!r} is null; give every record a text")
    return texts[0]


def _utf8(argument: str, on_invalid_utf8: InvalidUtf8) -> str:
    """Python keeps the bytes of an argument that is not UTF-8 as surrogates, which nothing can encode."""
    content = argument.encode("utf-8", "surrogateescape")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if on_invalid_utf8 == "replace":
            return content.decode("utf-8", "replace")
        raise DataError(
            f"--text {argument!r} is not valid UTF-8; convert it, or pass --on-invalid-utf8 replace"
        ) from error
