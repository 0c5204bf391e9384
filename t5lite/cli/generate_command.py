"""``t5lite generate``: let a run write."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from t5lite.checkpointing.reading import Step
from t5lite.cli import one_process, xla
from t5lite.cli.generated_outputs import (
    COMMAND,
    check_output,
    is_json_lines,
    terminal_text,
    write_none,
    write_outputs,
)
from t5lite.cli.input_texts import input_texts
from t5lite.cli.resumed_outputs import Resumption, deciding_options, json_lines
from t5lite.cli.shards import Shard
from t5lite.core import command_line
from t5lite.core.errors import DataError
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import absolute_location, place
from t5lite.data.reading.record_texts import InvalidUtf8
from t5lite.decoding.options import DecodingOptions
from t5lite.runner.averages import Average
from t5lite.runner.generation import start_generation
from t5lite.runner.int8_weights import Weights


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
    """UTF-8 file (also .gz, .xz, .zst) with one input a line, .jsonl, .csv, .tsv, or .parquet; - for lines on
    standard input."""
    field: str = "text"
    """Field of a .jsonl input, or column of a table, that holds the text."""
    output_file: str | None = None
    """New file, apart from the run: an output a line, or JSON lines in .jsonl; standard output by default.
    Of JSON lines, the same command goes on where an earlier one was cut off."""
    shard: str | None = None
    """I/N, such as 1/4: take block I of N of the inputs alone, and write NAME-00001-of-00004.jsonl for
    NAME.jsonl; each object there has the number of its input among all as row."""
    step: Step = "newest"
    """Checkpoint: the number of its step, newest, or best (on held-out data)."""
    average: Average | None = None
    """Take the mean of so many checkpoints, this one the last, or ema, the moving average in it; by default
    what made the best one the best, and 1 (its own parameters) of others."""
    weights: Weights | None = None
    """int8 holds the kernels of layers in a quarter of the memory, rounded; by default as they were saved."""
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
    shard = None if parsed.shard is None else Shard.parse(parsed.shard)
    inputs = input_texts(
        parsed.text, parsed.input_file, field=parsed.field, on_invalid_utf8=parsed.on_invalid_utf8
    )
    reads = [parsed.run] if parsed.input_file is None else [parsed.run, parsed.input_file]
    output = None if parsed.output_file is None else place(parsed.output_file)
    if shard is not None and output is not None:
        output = shard.file(output)
    check_output(output, reads=reads)
    if decoding.log_probs and not is_json_lines(output):
        raise DataError("--log-probs are written to JSON lines; give --output-file NAME.jsonl")
    resumption = Resumption.of(
        output,
        command=COMMAND,
        run=absolute_location(parsed.run),
        options=deciding_options(vars(parsed)),
        inputs=inputs,
        read_part=json_lines if is_json_lines(output) else None,
        shard=shard,
    )
    block = slice(0, len(inputs)) if shard is None else shard.block(len(inputs))
    if block.start == block.stop:
        write_none(resumption, f"shard {shard} has none of {len(inputs):,} inputs")
        return 0
    first_index = block.start + resumption.num_outputs
    inputs = inputs[first_index : block.stop]
    one_process.say_so()
    xla.configure()
    batch_size, shown = min(parsed.batch_size, len(inputs)), terminal_text(output, inputs)
    generation = start_generation(
        parsed.run,
        inputs,
        step=parsed.step,
        average=parsed.average,
        weights=parsed.weights,
        encoder_length=parsed.encoder_length,
        max_decode_length=parsed.max_decode_length,
        batch_size=batch_size,
        decoding=decoding,
        first_index=first_index,
        show=shown,
    )
    write_outputs(
        generation,
        inputs,
        resumption,
        batch_size=batch_size,
        shown=shown,
        first_row=None if shard is None else first_index + 1,
    )
    return 0
