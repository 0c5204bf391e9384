"""What a recipe that fine-tunes takes its model from, before the words of the command line override it."""

from collections.abc import Callable
from typing import TypeAlias

from t5lite.core.errors import ConfigError
from t5lite.models.config import Inherited, ModelConfig

ReadSource: TypeAlias = Callable[[str, str], ModelConfig]
"""Returns the model of the run (its first argument) from which the run of a directory begins."""


def inherited_model(
    inherited: Inherited,
    *,
    source: str | None,
    run_dir: str,
    shape: ModelConfig | None,
    read: ReadSource | None,
) -> ModelConfig:
    """Return the model that a recipe inherits.

    Args:
      inherited: what the recipe says of it.
      source: the run that ``initialize_from`` names, if any.
      run_dir: of the run that begins from it.
      shape: of ``--model``; it stands for the source's where there is no source.
      read: reads the source's model; None where nothing can.

    Raises:
      ConfigError: if there is no source, it cannot be read, has another shape than ``shape``, or its model
        cannot be had with what the recipe says.
    """
    if source is None:
        if shape is None:
            raise ConfigError(
                "the recipe inherits its model, and no run says which: give one by --initialize-from.run "
                "RUN, or train from scratch in the shape of another by --initialize-from None --model NAME"
            )
        return inherited.of(shape)
    if read is None:
        raise ConfigError(f"the recipe inherits the model of {source}, which is not read here")
    model = read(source, run_dir)
    if shape is not None and inherited.of(shape) != inherited.of(model):
        raise ConfigError(
            f"the recipe inherits the model of {source}, and --model is another; leave --model out, or train "
            "from scratch in its shape by --initialize-from None"
        )
    try:
        return inherited.of(model)
    except ConfigError as error:
        raise ConfigError(f"the recipe inherits the model of {source}: {error}") from error
