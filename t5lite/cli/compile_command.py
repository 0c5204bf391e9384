"""``t5lite compile``: does a run fit on hardware that is not here, and what bounds its speed."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from t5lite.cli.log import shown
from t5lite.cli.recipe_options import RecipeOptions
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.files import check_new_file, check_place, write_text
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import local_place
from t5lite.planning.hardware.chips import CHIPS
from t5lite.planning.hardware.topology import parse_topology
from t5lite.planning.report import page, table
from t5lite.planning.report.summary import summarise
from t5lite.runner.compilation import Compilation, compile_run

DOES_NOT_FIT = 3
"""Exit code for a step that the compiler finds too large, so that a script can tell it from a mistake."""


@dataclass(frozen=True, kw_only=True)
class Arguments(RecipeOptions):
    """Compile a recipe's training step for TPUs or GPUs that are not here, with their own compiler.

    It says what the step needs; no data, no vocabulary and no accelerator are. Any field of the recipe can be
    overridden: --partitioning.tensor 4 --model.vocab-size 32128. Exit code: 0 it fits, 2 a mistake, 3 it does
    not fit.
    """

    topology: str
    """Such as v5e:16x16 or v5p:4x4x8: a chip, and chips along each dimension, or nodes and GPUs a node."""
    num_slices: int = 1
    """Slices of that topology."""
    top: int = 10
    """How many of everything to list."""
    traffic: bool = False
    """Also list main memory's traffic by line of code."""
    json: bool = False
    """Print JSON: bytes, seconds, FLOPs."""
    html: str | None = None
    """Also write a page with pictures."""
    save: str | None = None
    """Also put the compiled step into this compilation cache, a directory."""

    def __post_init__(self):
        super().__post_init__()
        expand_fields(self, "html", "save")
        if self.top < 0:
            raise ConfigError(f"--top {self.top} must not be negative")


def run(arguments: Sequence[str]) -> int:
    """Compile and report; return 0 if the step fits and 3 if it does not."""
    known, overrides = command_line.parse_known(
        Arguments,
        arguments,
        prog="t5lite compile",
        description=f"{Arguments.__doc__}\n\nChips: {', '.join(CHIPS)}.",
    )
    topology = parse_topology(known.topology, num_slices=known.num_slices)
    html, save = (None if path is None else local_place(path) for path in (known.html, known.save))
    config = known.load(overrides)
    _check_place(html)
    # Where an accelerator is, it is left to whoever uses it.
    jax.config.update("jax_platforms", "cpu")
    if save is not None:
        _keep_in(save)
    with shown("t5lite.models.kernels"):
        compilation = compile_run(config, topology, announce=lambda text: print(text, file=sys.stderr))
    summary = _summary(compilation, top=known.top, traffic=known.traffic)
    if html is not None:
        write_text(html, page.page(summary, title=f"{known.recipe.stem} on {topology}"))
    print(json.dumps(summary, indent=1) if known.json else _text(summary))
    return 0 if compilation.step.fits else DOES_NOT_FIT


def _summary(compilation: Compilation, *, top: int, traffic: bool) -> dict:
    batch = compilation.batch
    return {
        "parameters": compilation.num_params,
        "batch": {
            "batch_size": batch.batch_size,
            "encoder_length": batch.encoder_length,
            "decoder_length": batch.decoder_length,
        },
        **summarise(compilation.step, top=top, traffic=traffic),
        "advice": compilation.advice,
    }


def _text(summary: dict) -> str:
    lines = [table.table(summary)]
    if summary["advice"]:
        lines.append("\n".join(["what to change", *(f"  {remedy}" for remedy in summary["advice"])]))
    return "\n\n".join(lines)


def _check_place(path: Path | None) -> None:
    """Refuse, before minutes of compilation, what cannot be written or would replace something else."""
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"--html {path} is a directory; give the name of a file")
    if not path.parent.is_dir():
        raise ConfigError(f"--html {path}: there is no directory {path.parent}; make it first")
    check_new_file(path)
    if not path.exists():
        return
    with open(path, "rb") as stream:
        start = stream.read(1000)
    if start and page.GENERATOR.encode() not in start:
        raise ConfigError(
            f"--html {path} is a file that t5lite compile did not write; give another name, or delete it"
        )


def _keep_in(directory: Path) -> None:
    """Have JAX write the compiled step to a compilation cache, for JAX_COMPILATION_CACHE_DIR on the slice."""
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"--save {directory} is a file; give the name of a directory")
    check_place(directory)  # JAX makes it when it has something to keep
    jax.config.update("jax_compilation_cache_dir", str(directory.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
