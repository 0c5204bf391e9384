"""Options of every command that takes a recipe: which it is, and of what shape its model."""

from collections.abc import Sequence
from dataclasses import dataclass

from t5lite import run_config
from t5lite.core.home import expand_fields, expand_home
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.models.config import ModelConfig
from t5lite.run_config import RunConfig
from t5lite.runner.inheritance import read_source
from t5lite.runner.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """A recipe; any of its fields is overridden by ``--FIELD VALUE``."""

    config: str
    """Recipe (.py), or the config.json of a run."""
    model: str | None = None
    """A shape for the recipe's: a published one (`t5lite models` lists them), or a run directory's."""

    def __post_init__(self):
        expand_fields(self, "config", "model")

    @property
    def recipe(self) -> StoragePath:
        """Where the recipe is."""
        return place(self.config)

    def load(self, overrides: Sequence[str]) -> RunConfig:
        """Return the run that the recipe describes.

        Raises:
          ConfigError: if the recipe, the shape or an override cannot be used.
          SystemExit: with code 0, after ``--help`` among the overrides.
        """
        return run_config.load(self.recipe, overrides, model=self._shape(), read_source=read_source)

    def _shape(self) -> str | ModelConfig | None:
        """Return the model of a run directory; any other name is that of a published shape."""
        if self.model is None:
            return None
        directory = RunDirectory.at(expand_home(self.model))
        return directory.read_model()[0] if directory.model_file.is_file() else self.model
