"""``t5lite quickstart``: the whole road on embedded text, in one command."""

import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.cli import xla
from t5lite.core import command_line
from t5lite.core.home import expand_fields
from t5lite.core.registry import lookup
from t5lite.core.storage.addresses import place
from t5lite.quickstart import starting_over
from t5lite.quickstart.recipes import RECIPES, SIX_MINUTES
from t5lite.quickstart.run import run as run_quickstart
from t5lite.quickstart.stages import Interrupted


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Vocabulary, pretraining, fine-tuning on two tasks, export and report, on text in the package.

    Run it again to go on where it stopped.
    """

    recipe: str = SIX_MINUTES.name
    """How much is trained: six-minutes or one-hour, on two CPU cores."""
    directory: str | None = None
    """Run directory, also at gs:// or s3://; by default t5lite-quickstart (or t5lite-RECIPE) in this one."""
    seed: int = 0
    """Of initialisation, data order and noise."""
    overwrite: bool = False
    """Delete what an earlier quickstart wrote there, and start over."""

    def __post_init__(self):
        expand_fields(self, "directory")


def run(arguments: Sequence[str]) -> int:
    """Run the quickstart."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite quickstart")
    recipe = lookup(RECIPES, parsed.recipe, kind="recipe")
    is_default = recipe is SIX_MINUTES
    default = "t5lite-quickstart" if is_default else f"t5lite-{recipe.name}"
    directory = place(parsed.directory or default)
    if parsed.overwrite and directory.exists():
        starting_over.delete(directory)
    xla.configure()
    try:
        run_quickstart(recipe, directory, seed=parsed.seed)
    except (Interrupted, KeyboardInterrupt) as stop:
        number = stop.signal if isinstance(stop, Interrupted) else signal.SIGINT
        kept = [word for word in arguments if word != "--overwrite"]
        command = shlex.join(["t5lite", "quickstart", *kept])
        print(f"stopped, what was done is kept; to go on: {command}", file=sys.stderr)
        return 128 + number
    return 0
