"""Options of every command that takes a recipe: which it is, and of what shape its model."""

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from typing import Any

from t5lite import run_config
from t5lite.core import command_line
from t5lite.core.home import expand_fields, expand_home
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.models.config import ModelConfig
from t5lite.run_config import RunConfig
from t5lite.runner.inheritance import read_source, with_inherited_adapter
from t5lite.runner.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """A recipe; any of its fields is overridden by ``--FIELD VALUE``."""

    config: str
    """Recipe (.py), or the config.json of a run."""
    model: str | None = None
    """A shape for the recipe's: a published one (`t5lite models` lists them), or a run directory's."""

    task: str | None = None
    """A task for the recipe's (`t5lite tasks` lists them), or a .json file of one: its lengths, and how text
    is scored."""

    def __post_init__(self):
        expand_fields(self, "config", "model", "task")

    @property
    def recipe(self) -> StoragePath:
        """Where the recipe is."""
        return place(self.config)

    def load(self, overrides: Sequence[str]) -> RunConfig:
        """Return the run that the recipe describes, and the adapter that it begins from; as of ``read``."""
        return with_inherited_adapter(self.read(overrides))

    def read(self, overrides: Sequence[str]) -> RunConfig:
        """Return the run that the recipe describes, with the recipe's own adapter.

        Raises:
          ConfigError: if the recipe, the shape or an override cannot be used, or one is nearly an option.
          SystemExit: with code 0, after ``--help`` among the overrides.
        """
        for word in overrides:
            self._refuse_mistyped(word.partition("=")[0])
        shape = self._shape()
        return run_config.load(self.recipe, overrides, model=shape, task=self.task, read_source=read_source)

    def _refuse_mistyped(self, option: str) -> None:
        """Refuse what is no field of a recipe, and nearly an option of the command."""
        if (
            not option.startswith("--")
            or "." in option
            or option in ("--help", *map(_option, fields(RunConfig)))
        ):
            return
        parts = (part for part in vars(self).values() if is_dataclass(part))
        own = [_option(field) for part in (self, *parts) for field in fields(part)]
        command_line.refuse_mistyped([option], own)

    def _shape(self) -> str | ModelConfig | None:
        """Return the model of a run directory; any other name is that of a published shape."""
        if self.model is None:
            return None
        directory = RunDirectory.at(expand_home(self.model))
        return directory.read_model()[0] if directory.model_file.is_file() else self.model


def _option(field: Field[Any]) -> str:
    return f"--{field.name.replace('_', '-')}"
