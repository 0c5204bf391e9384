"""What ``t5lite plan`` does with recipes: the one that it plans for, and the one that it writes."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.cli.recipe_options import RecipeOptions
from t5lite.core.command_line import value_of
from t5lite.core.errors import ConfigError
from t5lite.core.files import check_new_file
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.run_config import RunConfig

_BATCH_SIZE, _MICROBATCHES = "--training.batch-size", "--step.num-microbatches"
_PLANNED = (
    *(f"--partitioning.{name}" for name in ("style", "replica", "fsdp", "sequence", "tensor")),
    *("--execution.remat", "--execution.remat-names", _MICROBATCHES),
)


@dataclass(frozen=True, kw_only=True)
class Base:
    """The recipe that a plan is for."""

    path: str
    config: RunConfig
    """With what the command overrides."""
    batch_size: int
    """Rows of a step that the recipe has itself."""


def load_base(path: str, words: Sequence[str], *, model: str | None, batch_size: int | None) -> Base:
    """Return what is planned for.

    Args:
      path: of the recipe.
      words: that override its fields.
      model: a shape in place of its own.
      batch_size: rows of a step in place of its own.

    Raises:
      ConfigError: if they cannot be used, or say what is planned.
    """
    for option in _PLANNED:
        if value_of(option, words) is not None:
            raise ConfigError(f"{option} is what plan chooses; leave it out")
    if value_of(_BATCH_SIZE, words) is not None:
        raise ConfigError(f"instead of {_BATCH_SIZE} say --global-batch-size")
    options = RecipeOptions(config=path, model=model)
    config = own = options.load(words)
    if batch_size is not None:
        config = options.load([*words, _MICROBATCHES, "1", _BATCH_SIZE, str(batch_size)])  # chosen by plan
    return Base(path=path, config=config, batch_size=own.training.batch_size)


def checked_place(path: str, *, overwrite: bool) -> StoragePath:
    """Return where a recipe is to be written, before minutes of compilation; nothing is written.

    Raises:
      UserError: if it cannot be written there, or would replace what it may not or what is no recipe.
    """
    where = place(path)
    if where.suffix != ".py":
        raise ConfigError(f"--write {path} has the suffix {where.suffix!r}; a recipe's is .py")
    check_new_file(where)
    if not where.exists():
        return where
    if not overwrite:
        raise ConfigError(f"--write {path} is there already; give another name, or --overwrite to replace it")
    if not _is_recipe(where):
        raise ConfigError(
            f"--write {path} is there and no recipe (it defines no config()); give another name"
        )
    return where


def _is_recipe(path: StoragePath) -> bool:
    try:
        parsed = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(each, ast.FunctionDef) and each.name == "config" for each in parsed.body)
