"""How text is written that a task scores; a module apart, since strategies need JAX and tasks do not."""

from t5lite.core.errors import ConfigError
from t5lite.core.strict_json import StrictJson
from t5lite.decoding import DecodingConfig
from t5lite.decoding.options import DecodingOptions
from t5lite.tasks.task import Task

_JSON = StrictJson()


def task_decoding(task: Task) -> DecodingConfig:
    """Return how a model writes what is scored.

    What a strategy draws depends on its seed and on an example's place: scores are the same each time.

    Raises:
      ConfigError: for an option that is none or another strategy's, a value out of range, or what would be
        written beside the one text that is scored.
    """
    name = f"decoding of the task {task.name}"
    options = _JSON.structure(dict(task.decoding), DecodingOptions, name=name)
    try:
        decoding = options.config()
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    if decoding.strategy.num_sequences > 1 or decoding.log_probs:
        raise ConfigError(
            f"{name}: num_return_sequences and log_probs are for `t5lite generate`; one text of an input is "
            "scored: leave them out"
        )
    return decoding
