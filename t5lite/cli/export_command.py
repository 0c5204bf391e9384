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
from t5lite.interop.stablehlo import ProgramSizes
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
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the weights; T5 overflows in float16, and the export says so."""
    max_shard_size: str | None = None
    """Size of one file of weights, such as 500MB (5GB by default); more go into several files."""
    format: str = "huggingface"
    """Format of the folder: huggingface, or stablehlo, compiled programs for serving."""
    sizes: Annotated[ProgramSizes, tyro.conf.arg(name="")] = field(default_factory=ProgramSizes)
    """Of a stablehlo program's inputs."""
    overwrite: bool = False
    """Replace the folder, if an earlier export wrote all that is in it."""

    def __post_init__(self):
        expand_fields(self, "run", "output")


def run(arguments: Sequence[str]) -> int:
    """Export and say how to load."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite export")
    one_process.say_so()
    options: dict[str, Any] = {}
    if parsed.max_shard_size is not None:
        if parsed.format != "huggingface":
            raise ConfigError(f"--max-shard-size divides Hugging Face's safetensors, not {parsed.format}")
        options["max_shard_bytes"] = num_bytes(parsed.max_shard_size)
    if parsed.format == "stablehlo":
        options["sizes"] = parsed.sizes
    elif parsed.sizes != ProgramSizes():
        raise ConfigError(f"sizes of a program's inputs are for --format stablehlo, not {parsed.format}")
    done = export(
        parsed.run,
        parsed.output,
        step=parsed.step,
        dtype=parsed.dtype,
        format_name=parsed.format,
        overwrite=parsed.overwrite,
        options=options,
    )
    weights = "imported weights" if done.imported else f"weights of step {done.step}"
    print(f"{parsed.output}: {weights}, {parsed.dtype}")
    for name, count in done.export.overflows.items():
        print(f"  overflow: {name}: {count:,} values became infinite")
    local = repr(parsed.output) if isinstance(done.export.folder, Path) else "a local copy of it"
    if parsed.format == "huggingface":
        print(f"  {done.export.class_name}.from_pretrained({local})")
        if done.export.after_loading:
            print(f"  {done.export.after_loading}")
    elif parsed.format == "stablehlo":
        programs = [name for name in done.export.files if name.endswith(".stablehlo")]
        print(f"  {', '.join(programs)}: t5lite.interop.stablehlo.load_exported({local})")
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
