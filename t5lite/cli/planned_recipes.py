"""What ``t5lite plan`` does with recipes: the one that it plans for, and the one that it writes."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.cli.recipe_options import RecipeOptions
from t5lite.core.command_line import value_of
from t5lite.core.errors import ConfigError
from t5lite.core.files import check_apart, check_new_file, make_directory, write_text
from t5lite.core.home import expand_home
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.core.storage.exclusive import create_exclusively
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


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a recipe is to be written."""

    path: str
    base: str
    """The recipe that it is planned from, which stays."""
    overwrite: bool
    """Whether a recipe that is there may be replaced."""

    def check(self) -> StoragePath:
        """Return the place, before minutes of compilation; nothing is written.

        Raises:
          UserError: if it cannot be written there, or would replace what it may not or what is no recipe.
        """
        where = place(self.path)
        if where.suffix != ".py":
            raise ConfigError(f"--write {self.path} has the suffix {where.suffix!r}; a recipe's is .py")
        check_new_file(where)
        check_apart(where, [expand_home(self.base)])
        if not where.exists():
            return where
        if not self.overwrite:
            raise self._is_there()
        if not _is_recipe(where):
            raise ConfigError(
                f"--write {self.path} is there and no recipe (it defines no config()); give another name"
            )
        return where

    def write(self, text: str) -> None:
        """Write the recipe, if that is still allowed: others may have written there meanwhile.

        Raises:
          UserError: as of ``check``.
        """
        where = self.check()
        if self.overwrite:
            write_text(where, text)
            return
        make_directory(where.parent)
        if not create_exclusively(where, text.encode("utf-8", "backslashreplace")):
            raise self._is_there()

    def _is_there(self) -> ConfigError:
        return ConfigError(
            f"--write {self.path} is there already; give another name, or --overwrite to replace it"
        )


def _is_recipe(path: StoragePath) -> bool:
    try:
        parsed = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(each, ast.FunctionDef) and each.name == "config" for each in parsed.body)
