"""Where ``t5lite generate`` writes: outputs as they come, progress, and what was cut."""

import functools
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence

from t5lite.cli.growing_outputs import check_new_output, opened, progress_line, say
from t5lite.cli.resumed_outputs import Resumption
from t5lite.core.errors import DataError
from t5lite.core.storage.addresses import StoragePath
from t5lite.data.reading.input_files import COMPRESSIONS, RECORD_FORMATS
from t5lite.decoding import GenerationLengths
from t5lite.evaluation.text_generation import Output
from t5lite.runner.generation import Generation

COMMAND = "generate"
_JSON_LINES = ".jsonl"
_NOT_WRITTEN = {*RECORD_FORMATS, ".json", ".ndjson", *COMPRESSIONS, ".bz2", ".zip"} - {_JSON_LINES}
"""Endings that promise what is not written; after any other there are lines of text."""
_LINE_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r"})
_say = functools.partial(say, COMMAND)


def check_output(path: StoragePath | None, *, reads: Sequence[str | os.PathLike[str]]) -> None:
    """Check that outputs can be written to ``path`` and that nothing is lost by it, before long work.

    Args:
      path: the file; None for standard output.
      reads: the run directory and the input file, if there is one.

    Raises:
      UserError: if it is there, or another process writes it, or it lies in what is read; if its name
        promises another format.
    """
    if path is None:
        return
    check_new_output(path, reads=reads)
    if (ending := path.suffix.lower()) in _NOT_WRITTEN:
        raise DataError(
            f"--output-file {path}: {ending} is not written; give a name in {_JSON_LINES} for JSON lines, or "
            "another, such as .txt, for one output a line"
        )


def is_json_lines(path: StoragePath | None) -> bool:
    """Return whether outputs in ``path`` are JSON lines, and not lines of text."""
    return path is not None and path.suffix.lower() == _JSON_LINES


class TerminalText:
    """Shows the text of a lone input on standard output as it is written."""

    def __init__(self):
        self._num_shown = 0

    def __call__(self, piece: str) -> None:
        """Show a piece."""
        sys.stdout.write(piece.translate(_LINE_BREAKS))
        sys.stdout.flush()
        self._num_shown += len(piece)

    def rest(self, text: str) -> str:
        """Return what of the whole text is not shown."""
        return text[self._num_shown :]


def terminal_text(path: StoragePath | None, inputs: Sequence[str]) -> TerminalText | None:
    """Return what shows the text of an input as it is written: of one alone, on a terminal."""
    return TerminalText() if path is None and len(inputs) == 1 and sys.stdout.isatty() else None


def write_outputs(
    generation: Generation,
    inputs: Sequence[str],
    resumption: Resumption,
    *,
    batch_size: int,
    shown: TerminalText | None = None,
    first_row: int | None = None,
) -> None:
    r"""Write an output for each input as it comes, and say on standard error what was cut.

    A file ending in ``.jsonl`` holds an object for each: input, output, whether either was cut, its figures
    where asked for, and the other outputs of an input that has several. Elsewhere an output is a line, with
    its line breaks written as ``\n``, and those of an input follow one another.

    Args:
      generation: to be run, of the inputs that have no output yet.
      inputs: those.
      resumption: the file, and what is in it already.
      batch_size: inputs at once.
      shown: what shows the text of a lone input as it is written.
      first_row: number of the first input among those of all shards, from 1; None where there are none.

    Raises:
      UserError: if the file cannot be written.
    """
    lengths = generation.lengths
    if message := _cut_inputs(generation):
        _say(message)
    _say(f"compiling for {batch_size} inputs at once, of {lengths.encoder_length} tokens at most")
    as_json = is_json_lines(resumption.path)
    counts: Counter[str] = Counter()
    resumption.check_step(generation.step)
    with (
        opened(resumption) as stream,
        progress_line(resumption, len(inputs), batch_size=batch_size) as progress,
    ):
        resumption.begin(generation.step)
        for number, (text, output) in enumerate(zip(inputs, generation.outputs, strict=True), 1):
            texts = [each.text for each in (output, *output.others)]
            lines = [each.translate(_LINE_BREAKS) for each in texts]
            row = None if first_row is None else first_row + number - 1
            missing = generation.num_sequences - len(lines)
            told = lines if shown is None else [shown.rest(texts[0]).translate(_LINE_BREAKS), *lines[1:]]
            as_text = "".join(f"{line}\n" for line in told) + "\n" * missing
            stream.write(_json_line(text, output, row) if as_json else as_text)
            counts["cut"] += output.output_cut
            counts["broken"] += not as_json and texts != lines
            counts["fewer"] += missing > 0
            if number % batch_size == 0 or number == len(inputs):
                stream.flush()
                progress(number)
    if counts["cut"]:
        _say(
            f"{counts['cut']:,} of {len(inputs):,} outputs stop at {lengths.max_decode_length} tokens without"
            f" an end; {_more_output(lengths)}"
        )
    if counts["fewer"]:
        _say(
            f"{counts['fewer']:,} of {len(inputs):,} inputs have fewer than {generation.num_sequences} "
            "outputs, as there are no more texts of that length; elsewhere than in .jsonl empty lines stand "
            "for them"
        )
    if counts["broken"]:
        _say(
            f"{counts['broken']:,} of {len(inputs):,} outputs have line breaks, written as \\n here; "
            "--output-file NAME.jsonl keeps them"
        )


def write_none(resumption: Resumption, why: str) -> None:
    """Write an empty file, and say why.

    Raises:
      UserError: if it cannot be written.
    """
    with opened(resumption):
        pass
    _say(f"{why}: {resumption.path or 'standard output'} is empty")


def _cut_inputs(generation: Generation) -> str | None:
    length, limit = generation.lengths.encoder_length, generation.lengths.input_limit
    cut = sum(tokens > length for tokens in generation.num_tokens)
    if not cut:
        return None
    longest = max(generation.num_tokens)
    if limit is None or longest <= limit:
        remedy = f"--encoder-length {longest} takes all of them"
    else:
        remedy = f"the model has positions for {limit:,}" + (
            f": --encoder-length {limit} takes more" if limit > length else ", so divide them"
        )
    lost = "beginning" if generation.keeps_end else "end"
    return (
        f"{cut:,} of {len(generation.num_tokens):,} inputs have more than {length} tokens and lose their "
        f"{lost} (the longest has {longest:,}); {remedy}"
    )


def _more_output(lengths: GenerationLengths) -> str:
    if lengths.output_limit is None or lengths.max_decode_length < lengths.output_limit:
        return "--max-decode-length gives them more"
    return "the model has no more positions"


def _json_line(text: str, output: Output, row: int | None) -> str:
    record = {
        **({} if row is None else {"row": row}),
        "input": text,
        "output": output.text,
        "input_cut": output.input_cut,
        "output_cut": output.output_cut,
        **_figures(output),
    }
    if output.others:
        record["others"] = [
            {"output": other.text, "output_cut": other.output_cut, **_figures(other)}
            for other in output.others
        ]
    return json.dumps(record, ensure_ascii=False) + "\n"


def _figures(output: Output) -> dict[str, float]:
    figures = {"log_prob": output.log_prob, "score": output.score}
    return {name: figure for name, figure in figures.items() if figure is not None}
