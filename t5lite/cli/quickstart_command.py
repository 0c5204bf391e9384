"""``t5lite quickstart``: the whole road on embedded text, in one command."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from t5lite.cli import xla
from t5lite.core.errors import ConfigError
from t5lite.quickstart.recipes import RECIPES
from t5lite.quickstart.run import run as run_quickstart


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Vocabulary, pretraining, fine-tuning on two tasks, export and report, on text in the package.

    Run it again to go on where it stopped.
    """

    recipe: Literal["six-minutes", "one-hour"] = "six-minutes"
    """How much is trained; the times are for two CPU cores."""
    directory: Path | None = None
    """Run directory; t5lite-quickstart (or t5lite-RECIPE) in the current one by default."""
    seed: int = 0
    """Of initialisation, data order and noise."""
    overwrite: bool = False
    """Delete the run directory and start over."""


def run(arguments: Sequence[str]) -> int:
    """Run the quickstart."""
    parsed = tyro.cli(Arguments, prog="t5lite quickstart", args=list(arguments))
    directory = parsed.directory or Path(
        "t5lite-quickstart" if parsed.recipe == "six-minutes" else f"t5lite-{parsed.recipe}"
    )
    if parsed.overwrite and directory.exists():
        if not (directory / "quickstart.json").is_file():
            raise ConfigError(f"{directory} is not a quickstart's directory; it is not deleted")
        shutil.rmtree(directory)
    xla.configure()
    run_quickstart(RECIPES[parsed.recipe], directory, seed=parsed.seed)
    return 0
