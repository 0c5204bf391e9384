"""``t5lite import``: another system's folder to a run directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from t5lite.cli import one_process
from t5lite.cli.log import shown
from t5lite.core import command_line
from t5lite.core.home import expand_fields
from t5lite.interop import check_takes, format_for
from t5lite.runner.interchange import import_model


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Read another system's weights into a run directory that fine-tuning, generate and export take."""

    source: Annotated[str, tyro.conf.arg(name="from")]
    """Hugging Face: folder with config.json, weights and tokenizer. t5x: checkpoint_<step>, or above it."""
    output: str
    """Run directory to create."""
    format: str = "huggingface"
    """Format of the folder."""
    vocabulary: str | None = None
    """Vocabulary of the weights, if not the folder's: a spiece.model, a tokenizer.json, or `bytes`."""
    extra_ids: int | None = None
    """Sentinels of the vocabulary; by default what its files say."""
    activation: Literal["gated_gelu", "swiglu"] | None = None
    """Of a t5x checkpoint with wi_0 and wi_1, which does not say: swiglu for UL2, else gated_gelu."""

    def __post_init__(self):
        expand_fields(self, "source", "output", "vocabulary")


def run(arguments: Sequence[str]) -> int:
    """Import and say what came."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite import")
    one_process.say_so()
    options = {}
    if parsed.activation is not None:
        format_for("import", parsed.format)
        check_takes(parsed.format, "activation", flag="--activation")
        options["activation"] = parsed.activation
    # What the format says of its source: what was taken, left out and assumed.
    with shown("t5lite.interop"):
        num_params = import_model(
            parsed.source,
            parsed.output,
            format_name=parsed.format,
            vocabulary=parsed.vocabulary,
            extra_ids=parsed.extra_ids,
            options=options,
        )
    print(f"{parsed.output}: {num_params:,} parameters from {parsed.source}")
    print(f"  fine-tune from it with --initialize-from.run {parsed.output} --model {parsed.output}")
    return 0
