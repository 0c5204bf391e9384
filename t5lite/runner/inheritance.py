"""The model that a fine-tuning inherits: whose it is, and what is said of it."""

import dataclasses

from t5lite.checkpointing.reading import available_steps
from t5lite.core.home import expand_home
from t5lite.models.config import ModelConfig
from t5lite.run_config import RunConfig
from t5lite.runner.run_directory import RunDirectory


def read_source(source: str, run_dir: str) -> ModelConfig:
    """Return the model of the run ``source``, or, once that is gone, of the run that began from it.

    Raises:
      ConfigError: if there is no such run, or it cannot be read.
    """
    directory, own = (RunDirectory.at(expand_home(each)) for each in (source, run_dir))
    if not directory.model_file.is_file() and own.model_file.is_file() and available_steps(own.checkpoints):
        directory = own  # it goes on, and needs the source no more
    return directory.read_model()[0]


def with_inherited_adapter(config: RunConfig) -> RunConfig:
    """Return the configuration with the adapter of the run that it begins from, if that holds one.

    Raises:
      ConfigError: if it is of another kind than the configuration's, or that run cannot be read.
    """
    if config.initialize_from is None:
        return config
    source, own = (RunDirectory.at(each) for each in (config.initialize_from.run, config.run_dir))
    found = source if source.model_file.is_file() else own
    if not found.model_file.is_file():
        return config
    held = found.read_model_file()
    if held.adaptation is None:
        return config
    adapter = config.adapter.begun_from(held.adaptation.adapter, held.config, config.model)
    return dataclasses.replace(config, adapter=adapter)


def unused_settings(recipe: RunConfig, config: RunConfig) -> list[str]:
    """Return what to say of settings of a recipe's adapter in whose place an inherited one has others.

    Args:
      recipe: as it was read.
      config: of ``with_inherited_adapter``.
    """
    adapters = recipe.adapter, config.adapter
    differ = [name for name, value in vars(recipe.adapter).items() if value != getattr(config.adapter, name)]
    if not differ:
        return []
    unused, held = (", ".join(f"{name}={getattr(each, name)!r}" for name in differ) for each in adapters)
    return [
        f"note: the recipe's adapter has {unused}, which is not used: the one that is trained on has {held}"
    ]


def described(model: ModelConfig) -> str:
    """Return a model's architecture, size and head in a few words, and whose rates are inherited with it."""
    layers = " + ".join(map(str, model.layer_counts.values()))
    classes = model.num_named_labels
    head = f"{model.head} with {classes} classes" if classes is not None else model.head
    return (
        f"{model.architecture}, {layers} layers, {model.embed_dim} wide; head {head}, "
        f"dropout {model.dropout_rate:g}{_inherited_rates(model)}"
    )


def _inherited_rates(model: ModelConfig) -> str:
    """Return what else to say of a model that goes by the rates of a smaller one."""
    small = model.transfer
    if small is None or small.growing(model).width == small.growing(model).depth == 1:
        return ""
    depth = f" and {small.num_layers} layers a stack" if small.num_layers else ""
    return (
        f"; it brings transfer={small}, so give this recipe the learning rate of a model of width "
        f"{small.embed_dim}{depth}, which is scaled to this one"
    )
