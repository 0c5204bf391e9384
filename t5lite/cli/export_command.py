"""``t5lite export``: a run's weights as a folder that other tools read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from t5lite.checkpointing.reading import Step
from t5lite.cli import one_process
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.interop import check_takes, format_for
from t5lite.interop.stablehlo import ProgramSizes
from t5lite.runner.averages import Average
from t5lite.runner.interchange import export

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write a run as a Hugging Face folder (safetensors, configuration, tokenizer), or as programs."""

    run: str
    """Run directory."""
    output: str
    """Folder to create; an address (gs://, s3://) or a path."""
    step: Step = "newest"
    """Checkpoint: the number of its step, newest, or best (on held-out data)."""
    average: Average | None = None
    """Take the mean of so many checkpoints, this one the last, or ema, the moving average in it; by default
    what made the best one the best, and 1 (its own parameters) of others."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the weights; T5 overflows in float16, and the export says so."""
    max_shard_size: str | None = None
    """Size of one file of weights, such as 500MB (5GB by default); more go into several files."""
    format: str = "huggingface"
    """Format of the folder: huggingface; peft, an adapter alone; stablehlo, programs for serving."""
    sizes: Annotated[ProgramSizes, tyro.conf.arg(name="")] = field(default_factory=ProgramSizes)
    """Of a stablehlo program's inputs."""
    base: str | None = None
    """What a peft folder names as the model that was adapted: a folder, or a name of a hub."""
    overwrite: bool = False
    """Replace the folder, if an earlier export wrote all that is in it."""

    def __post_init__(self):
        expand_fields(self, "run", "output", "base")


def run(arguments: Sequence[str]) -> int:
    """Export and say how to load."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite export")
    one_process.say_so()
    chosen = format_for("export", parsed.format)
    options: dict[str, Any] = {}
    if parsed.max_shard_size is not None:
        check_takes(parsed.format, "max_shard_bytes", flag="--max-shard-size")
        options["max_shard_bytes"] = num_bytes(parsed.max_shard_size)
    if parsed.sizes != ProgramSizes():
        given = next(name for name, size in vars(parsed.sizes).items() if size != vars(ProgramSizes())[name])
        check_takes(parsed.format, "sizes", flag=f"--{given.replace('_', '-')}")
        options["sizes"] = parsed.sizes
    if parsed.base is not None:
        check_takes(parsed.format, "base", flag="--base")
        options["base"] = parsed.base
    done = export(
        parsed.run,
        parsed.output,
        step=parsed.step,
        average=parsed.average,
        dtype=parsed.dtype,
        format_name=parsed.format,
        overwrite=parsed.overwrite,
        options=options,
    )
    weights = "imported weights" if done.imported else f"weights {done.origin}"
    print(f"{parsed.output}: {weights}, {parsed.dtype}")
    for name, count in done.export.overflows.items():
        print(f"  overflow: {name}: {count:,} values became infinite")
    local = repr(parsed.output) if isinstance(done.export.folder, Path) else "a local copy of it"
    for line in chosen.loading(done.export, local) if chosen.loading else ():
        print(f"  {line}")
    return 0


def num_bytes(size: str) -> int:
    """Return the bytes of a size such as ``500MB``, in powers of ten as transformers counts.

    Raises:
      ConfigError: if it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?B)\s*", size.upper())
    count = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if count < 1:
        raise ConfigError(f"max_shard_size={size!r} is not a size; give a number and {', '.join(_UNITS)}")
    return count
