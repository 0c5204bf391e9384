"""``t5lite cost``: what recipes and sweeps would take on slices, in days, chip-hours and money."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from t5lite.cli.recipe_options import RecipeOptions
from t5lite.core import command_line
from t5lite.core.errors import ConfigError, UserError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.planning.hardware.accelerator_types import parse_chips
from t5lite.planning.hardware.topology import Topology
from t5lite.planning.report.table import duration, size
from t5lite.run_config import RunConfig
from t5lite.scaling.costs import RunsCost, runs_cost
from t5lite.scaling.sweeps import expand, read_sweep

_COLUMNS = (
    *("recipe", "slice", "parameters", "tokens", "steps", "a chip", "a step"),
    *("days", "chip-hours", "cost", "mesh, style, remat, microbatches"),
)
_ALIGNED = ("---", "---", *["---:"] * 8, "---")
_CAVEAT = {
    False: "By prediction, which is optimistic (docs/planning.md says by how much).",
    True: "As compiled and scheduled for the slice, which was not there; an estimate.",
}
_NOT_COUNTED = "Evaluations, checkpoints and restarts are not counted."


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Say what recipes would take on a slice, in Markdown: memory, days, chip-hours and what they cost.

    Each is run in the way that `t5lite plan` chooses. A sweep is all its runs, one after another, of each the
    steps that it trains itself; its step and way are those of the run whose step is the slowest. Exit code:
    0, or 2 if a row says what is wrong.
    """

    config: tuple[str, ...] = ()
    """Recipes (.py), runs' config.json, and sweeps (a .py that defines sweep())."""
    chips: tuple[str, ...] = ()
    """Such as v5e-16 or v5p:4x4x8: for all, or one for each."""
    price: tuple[float, ...] = ()
    """Of a chip-hour, in your currency: for all, or one for each."""
    compile: int = 0
    """Compile so many of the best ways of each step, minutes each; 0 goes by the prediction."""
    json: bool = False
    """Print JSON, with exact numbers."""

    def __post_init__(self):
        expand_fields(self, "config")
        for name, what in (
            ("config", "a recipe or a sweep"),
            ("chips", "a slice such as v5e-16"),
            ("price", "what a chip-hour costs you, such as 1.2"),
        ):
            if not getattr(self, name):
                raise ConfigError(f"--{name} is missing: {what}")
        for name in ("chips", "price"):
            if (number := len(getattr(self, name))) not in (1, len(self.config)):
                raise ConfigError(
                    f"--{name} has {number} values for {len(self.config)} recipes; give one for all, or one "
                    "for each"
                )
        for price in self.price:
            if not 0 <= price < float("inf"):
                raise ConfigError(f"--price {price:g} must be 0 or more, and finite")
        if self.compile < 0:
            raise ConfigError(f"--compile {self.compile} must be 0 (none) or more")


def run(arguments: Sequence[str]) -> int:
    """Print the table; return 0, or 2 if a row of it says why there is nothing else in it."""
    known = command_line.parse(Arguments, arguments, prog="t5lite cost")
    # Where an accelerator is, it is left to whoever uses it.
    jax.config.update("jax_platforms", "cpu")
    slices = [parse_chips(name) for name in _for_each(known.chips, known)]
    rows = [
        _row(path, topology, price, known.compile)
        for path, topology, price in zip(known.config, slices, _for_each(known.price, known), strict=True)
    ]
    print(json.dumps(rows, indent=2) if known.json else _table(rows, compiled=bool(known.compile)))
    return ExitCode.USER_ERROR if any("problem" in row for row in rows) else ExitCode.DONE


def _for_each(values: Sequence[Any], known: Arguments) -> list[Any]:
    return [*values] if len(values) == len(known.config) else [*values] * len(known.config)


def _row(path: str, topology: Topology, price: float, compiles: int) -> dict[str, Any]:
    where = place(path)
    name = where.stem if where.suffix == ".py" else path
    row: dict[str, Any] = {"recipe": name, "path": path, "slice": str(topology)}
    try:
        runs = _runs(path, where)
        cost = runs_cost(
            [run for run, _ in runs],
            topology,
            own_steps=[own_steps for _, own_steps in runs],
            compiles=compiles,
            announce=_announcer(name),
        )
    except UserError as error:  # the others are worth their rows
        return row | {"problem": str(error)}
    return row | _figures(cost, price)


def _runs(path: str, where: StoragePath) -> list[tuple[RunConfig, int]]:
    """Return the run of a recipe, or all of a sweep, and the steps that each trains itself.

    Raises:
      UserError: as of ``RecipeOptions.load``, ``read_sweep`` and ``expand``.
    """
    if where.is_file() and where.suffix == ".py" and b"def sweep(" in where.read_bytes():
        runs, _ = expand(read_sweep(where), identity=str)  # no store needs to be here
        return [(run.config, run.own_steps) for run in runs]
    config = RecipeOptions(config=path).load([])
    begun = 0 if config.continue_from is None else config.continue_from.step
    return [(config, config.training.total_steps - begun)]


def _announcer(name: str) -> Any:
    return lambda text: print(f"{name}: {text}", file=sys.stderr, flush=True)


def _figures(cost: RunsCost, price: float) -> dict[str, Any]:
    return {
        "runs": len(cost.parameters),
        "parameters": [min(cost.parameters), max(cost.parameters)],
        "tokens": cost.tokens,
        "steps": cost.steps,
        "memory_bytes": cost.memory_bytes,
        "available_bytes": cost.topology.chip.memory_bytes,
        "step_seconds": cost.slowest.seconds,
        "days": cost.days,
        "chip_hours": cost.chip_hours,
        "price": price,
        "cost": cost.chip_hours * price,
        "way": cost.slowest.way,
    }


def _table(rows: Sequence[dict[str, Any]], *, compiled: bool) -> str:
    lines = [_COLUMNS, _ALIGNED, *map(_cells, rows)]
    return "\n".join(
        [*(f"| {' | '.join(line)} |" for line in lines), "", f"{_CAVEAT[compiled]} {_NOT_COUNTED}"]
    )


def _cells(row: dict[str, Any]) -> list[str]:
    if "problem" in row:
        problem = row["problem"].replace("|", "\\|").replace("\n", " ")
        return [f"`{row['recipe']}`", row["slice"], *[""] * 8, problem]
    name = f"`{row['recipe']}`" + (f", {row['runs']} runs" if row["runs"] > 1 else "")
    millions = [f"{number / 1e6:,.1f}M" for number in dict.fromkeys(row["parameters"])]
    return [
        name,
        row["slice"],
        " to ".join(millions),
        f"{row['tokens']:.3g}",
        f"{row['steps']:,}",
        f"{size(row['memory_bytes'])} of {size(row['available_bytes'])}",
        duration(row["step_seconds"]),
        _digits(row["days"]),
        _digits(row["chip_hours"]),
        _digits(row["cost"]),
        ", ".join(row["way"].split("  ")),
    ]


def _digits(number: float) -> str:
    """Return a number with three digits before a power of ten is needed: ``0.512``, ``12.3``, ``4,560``."""
    return f"{number:.3g}" if number < 1000 else f"{number:,.0f}"
