"""``t5lite prepare``: raw text or text pairs to a vocabulary and token stores."""

import shlex
from collections.abc import Sequence
from typing import Annotated

import tyro

from t5lite.data.prepare import PreparePairsConfig, PrepareTextConfig, prepare_pairs, prepare_text

Prepare = (
    Annotated[PrepareTextConfig, tyro.conf.subcommand("text", prefix_name=False)]
    | Annotated[PreparePairsConfig, tyro.conf.subcommand("pairs", prefix_name=False)]
)


def run(arguments: Sequence[str]) -> int:
    """Prepare a corpus and say what was written."""
    config = tyro.cli(Prepare, prog="t5lite prepare", args=list(arguments))  # pyright: ignore[reportCallIssue, reportArgumentType]
    command = shlex.join(["t5lite", "prepare", *arguments])
    if isinstance(config, PrepareTextConfig):
        report = prepare_text(config, command=command)
    else:
        report = prepare_pairs(config, command=command)
    unit = "documents" if isinstance(config, PrepareTextConfig) else "pairs"
    for name, counts in report["stores"].items():
        dropped = f", {counts['dropped_empty']:,} without tokens dropped" if counts["dropped_empty"] else ""
        print(f"{config.output}/{name}: {counts['examples']:,} {unit}, {counts['tokens']:,} tokens{dropped}")
    vocabulary = report["vocabulary"]
    print(f"{config.output}/vocabulary/{vocabulary['file']}: {vocabulary['size']:,} ids, sentinels included")
    return 0
