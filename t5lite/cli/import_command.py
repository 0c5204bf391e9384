"""``t5lite import``: a Hugging Face folder to a run directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from t5lite.cli import one_process
from t5lite.runner.interchange import import_model


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Read a Hugging Face T5 folder into a run directory that fine-tuning, generate and export take."""

    source: Annotated[str, tyro.conf.arg(name="from")]
    """Folder with config.json, safetensors and spiece.model."""
    output: Path
    """Run directory to create."""
    format: str = "huggingface"
    """Format of the folder."""


def run(arguments: Sequence[str]) -> int:
    """Import and say what came."""
    parsed = tyro.cli(Arguments, prog="t5lite import", args=list(arguments))
    one_process.say_so()
    num_params = import_model(Path(parsed.source), parsed.output, format_name=parsed.format)
    print(f"{parsed.output}: {num_params:,} parameters from {parsed.source}")
    print(f"  fine-tune from it with --initialize-from.run {parsed.output}")
    return 0
