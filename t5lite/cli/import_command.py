"""``t5lite import``: another system's folder to a run directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from t5lite.cli import one_process
from t5lite.cli.log import shown
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import place
from t5lite.interop import check_takes, format_for, format_of
from t5lite.runner.imported_adapter import import_adapter
from t5lite.runner.interchange import import_model


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Read another system's weights into a run directory that fine-tuning, generate and export take."""

    source: Annotated[str, tyro.conf.arg(name="from")]
    """Hugging Face: folder with config.json, weights and tokenizer. t5x: checkpoint_<step>, or above it."""
    output: str
    """Run directory to create."""
    format: str | None = None
    """Format of the folder: huggingface, t5x, or peft, an adapter; by default peft where it is one alone."""
    base: str | None = None
    """Run directory of the model that an adapter belongs to; by default the one that its folder names."""
    vocabulary: str | None = None
    """Vocabulary of the weights, if not the folder's: a spiece.model, a tokenizer.json, or `bytes`."""
    extra_ids: int | None = None
    """Sentinels of the vocabulary; by default what its files say."""
    activation: Literal["gated_gelu", "swiglu"] | None = None
    """Of a t5x checkpoint with wi_0 and wi_1, which does not say: swiglu for UL2, else gated_gelu."""

    def __post_init__(self):
        expand_fields(self, "source", "output", "vocabulary", "base")


def run(arguments: Sequence[str]) -> int:
    """Import and say what came."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite import")
    one_process.say_so()
    name = parsed.format or format_of(place(parsed.source))
    chosen, options = format_for("import", name), {}
    for option in ("activation", "base"):
        if (given := getattr(parsed, option)) is not None:
            check_takes(name, option, flag=f"--{option}")
            options[option] = given
    if chosen.of_adapter:
        return _import_adapter(parsed)
    # What the format says of its source: what was taken, left out and assumed.
    with shown("t5lite.interop"):
        num_params = import_model(
            parsed.source,
            parsed.output,
            format_name=name,
            vocabulary=parsed.vocabulary,
            extra_ids=parsed.extra_ids,
            options=options,
        )
    print(f"{parsed.output}: {num_params:,} parameters from {parsed.source}")
    print(f"  fine-tune from it with --initialize-from.run {parsed.output} --model {parsed.output}")
    return 0


def _import_adapter(parsed: Arguments) -> int:
    """Import an adapter and say what came.

    Raises:
      ConfigError: if a vocabulary is given, which is the base's.
    """
    if parsed.vocabulary is not None or parsed.extra_ids is not None:
        raise ConfigError("an adapter has its base's vocabulary; leave --vocabulary and --extra-ids out")
    done = import_adapter(parsed.source, parsed.output, base=parsed.base)
    print(
        f"{parsed.output}: {done.num_params:,} parameters of an adapter {done.kind} from {parsed.source}, "
        f"beside step {done.base.step} of {done.base.run}: keep that"
    )
    for note in done.notes:
        print(f"  {note}")
    print(f"  evaluate, generate and export read it; train it on with --initialize-from.run {parsed.output}")
    return 0
