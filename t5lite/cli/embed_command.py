"""``t5lite embed``: vectors of texts by a run."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.checkpointing.reading import Step
from t5lite.cli import one_process, xla
from t5lite.cli.embedding_files import Position, vector_format
from t5lite.cli.growing_outputs import check_new_output, opened, progress_line, say
from t5lite.cli.input_texts import input_texts
from t5lite.cli.resumed_outputs import Resumption, deciding_options
from t5lite.cli.shards import Shard
from t5lite.core import command_line
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import absolute_location, place
from t5lite.data.reading.record_texts import InvalidUtf8
from t5lite.models.config import Pooling
from t5lite.runner.averages import Average
from t5lite.runner.embedding import Embedding, start_embedding
from t5lite.runner.int8_weights import Weights

_COMMAND = "embed"
_say = functools.partial(say, _COMMAND)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write a vector for each text: what the encoder, or a decoder-only model, makes of its tokens, pooled.

    Vectors have length 1, so that a product of two is their cosine.
    """

    run: str
    """Run directory."""
    output_file: str
    """New file, apart from the run: .npy, float32 [texts, width], or .parquet with text and embedding. Of
    .npy, the same command goes on where an earlier one was cut off."""
    text: tuple[str, ...] = ()
    """Texts; ``--input-file`` and standard input are the alternatives."""
    input_file: str | None = None
    """UTF-8 file (also .gz, .xz, .zst) with one text a line, .jsonl, .csv, .tsv, or .parquet; - for lines on
    standard input."""
    field: str = "text"
    """Field of a .jsonl input, or column of a table, that holds the text."""
    shard: str | None = None
    """I/N, such as 1/4: take block I of N of the texts alone, and write NAME-00001-of-00004.npy for NAME.npy;
    joined in the order of their names, files have the rows of one without shards."""
    step: Step = "newest"
    """Checkpoint: the number of its step, newest, or best (on held-out data)."""
    average: Average | None = None
    """Take the mean of so many checkpoints, this one the last, or ema, the moving average in it; by default
    what made the best one the best, and 1 (its own parameters) of others."""
    weights: Weights | None = None
    """int8 holds the kernels of layers in a quarter of the memory, rounded; by default as they were saved."""
    pooling: Pooling | None = None
    """Mean over the tokens of a text, its first one (cls) or its last; by default
    what the run was trained by, mean if by none."""
    normalise: bool = True
    """Give vectors length 1."""
    max_length: int | None = None
    """Texts are cut to this many tokens, special ones included; by default as in a training to embed, or what
    the model was made for."""
    batch_size: int = 32
    """Texts embedded at once."""
    on_invalid_utf8: InvalidUtf8 = "error"
    """Refuse invalid UTF-8 in the input, or replace each invalid byte by U+FFFD."""

    def __post_init__(self):
        expand_fields(self, "run", "input_file", "output_file")


def run(arguments: Sequence[str]) -> int:
    """Embed and write."""
    parsed = command_line.parse(Arguments, arguments, prog=f"t5lite {_COMMAND}")
    shard = None if parsed.shard is None else Shard.parse(parsed.shard)
    texts = input_texts(
        parsed.text, parsed.input_file, field=parsed.field, on_invalid_utf8=parsed.on_invalid_utf8
    )
    output = place(parsed.output_file)
    if shard is not None:
        output = shard.file(output)
    kind = vector_format(output)
    check_new_output(
        output, reads=[parsed.run] if parsed.input_file is None else [parsed.run, parsed.input_file]
    )
    resumption = Resumption.of(
        output,
        command=_COMMAND,
        run=absolute_location(parsed.run),
        options=deciding_options(vars(parsed)),
        inputs=texts,
        read_part=kind.read_part,
        shard=shard,
    )
    if shard is not None:
        num_of_all, texts = len(texts), texts[shard.block(len(texts))]
        if not texts:  # its file has no rows, and can be joined with the others
            _say(f"shard {shard} has none of {num_of_all:,} texts")
    left = texts[resumption.num_outputs :]
    one_process.say_so()
    xla.configure()
    batch_size = min(parsed.batch_size, max(1, len(left)))
    embedding = start_embedding(
        parsed.run,
        left,
        step=parsed.step,
        average=parsed.average,
        weights=parsed.weights,
        pooling=parsed.pooling,
        normalise=parsed.normalise,
        max_length=parsed.max_length,
        batch_size=batch_size,
    )
    _say_what_is_lost(embedding)
    resumption.check_step(embedding.step)
    with (
        opened(resumption) as stream,
        progress_line(resumption, len(left), batch_size=batch_size) as progress,
    ):
        resumption.begin(embedding.step)
        vectors = zip(left, embedding.vectors, strict=True)
        position = Position(len(texts), resumption.num_outputs)
        written = kind.write(stream.buffer, vectors, embedding.width, position)
        for number, _ in enumerate(written, 1):
            if number % batch_size == 0 or number == len(left):
                stream.buffer.flush()
                progress(number)
    _say(
        f"{len(texts):,} vectors of {embedding.width} numbers are in {output} (step {embedding.step}, "
        f"{embedding.pooling} of the tokens{', length 1' if parsed.normalise else ''}"
        f"{f', weights of {parsed.weights}' if parsed.weights else ''})"
    )
    return 0


def _say_what_is_lost(embedding: Embedding) -> None:
    """Say how many texts are cut, and how many are none."""
    count, limit = len(embedding.num_tokens), embedding.limit
    longest, trained = max(embedding.num_tokens, default=0), embedding.trained_length
    if cut := sum(tokens > embedding.length for tokens in embedding.num_tokens):
        if limit is None or longest <= limit:
            remedy = f"--max-length {longest} takes all of them"
        else:
            remedy = f"the model has positions for {limit:,}" + (
                f": --max-length {limit} takes more" if limit > embedding.length else ", so divide them"
            )
        _say(
            f"{cut:,} of {count:,} texts have more than {embedding.length} tokens and lose their end (the "
            f"longest has {longest:,}); {remedy}"
            + (f"; texts of the training had {trained} at most" if trained else "")
        )
    if trained is not None and embedding.length > trained and longest > trained:
        beyond = sum(tokens > trained for tokens in embedding.num_tokens)
        _say(
            f"{beyond:,} of {count:,} texts have more tokens than the {trained} that texts of the training "
            "had at most: nothing says what their vectors are worth"
        )
    if blank := embedding.num_tokens.count(0):
        _say(f"{blank:,} of {count:,} texts are blank: their vectors are zeros, so that nothing is like them")
