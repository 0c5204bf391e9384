"""``t5lite export``: a run's weights as a folder that other tools read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from t5lite.cli import one_process
from t5lite.runner.interchange import export


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write a run as a Hugging Face folder: safetensors, configuration, tokenizer."""

    run: str
    """Run directory."""
    output: Path
    """Folder to create."""
    step: int | None = None
    """Checkpoint step; the newest by default."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the weights; T5 overflows in float16, and the export says so."""
    format: str = "huggingface"
    """Format of the folder."""
    overwrite: bool = False
    """Replace the folder if it exists."""


def run(arguments: Sequence[str]) -> int:
    """Export and say how to load."""
    parsed = tyro.cli(Arguments, prog="t5lite export", args=list(arguments))
    one_process.say_so()
    step = export(
        parsed.run,
        parsed.output,
        step=parsed.step,
        dtype=parsed.dtype,
        format_name=parsed.format,
        overwrite=parsed.overwrite,
    )
    print(f"{parsed.output}: weights of step {step}, {parsed.dtype}")
    print(f"  AutoModelForSeq2SeqLM.from_pretrained({str(parsed.output)!r})")
    return 0
