"""What a run measures on held-out data: named evaluations, each with a store, a task and an interval."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.home import expand_fields
from t5lite.data.pipeline import SourceDataConfig
from t5lite.models.config import ModelConfig

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
"""What is the same in a metric's name, in a file's and on the command line."""
OF_SCORED_PAIRS = ("spearman", "pearson")
"""What is measured of a model that embeds on a store of pairs with scores, in place of what others find."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What one evaluation measures on held-out data, during training and by ``t5lite evaluate``."""

    store: str
    """Held-out store, of the kind of the training data that it is read like."""
    source: str | None = None
    """Of a mixture, the source whose objective and lengths make examples of ``store``; None for the first."""
    every_steps: int | None = None
    """Steps between two of them in a training; None for ``training.eval_every_steps``."""
    batch_size: int = 64
    max_examples: int | None = 1024
    """Examples of the store that are used, evenly spread over it; None takes all of them."""
    encoder_use: bool = True
    """Of an encoder-decoder, also report how much the loss rises when examples swap their inputs."""
    task: str | None = None
    """A task (`t5lite tasks` lists them), or a .json or .yaml file of one, of which a run keeps all: how
    generated text is scored by ``t5lite evaluate``; None generates nothing."""
    task_in_training: bool = False
    """Whether a training does so, too, with each of these evaluations, which takes as long as the command."""
    average: Literal["ema"] | None = None
    """Measure the moving average of the parameters (``training.ema_decay``); None: these themselves."""

    def __post_init__(self) -> None:
        expand_fields(self, "store", "task")

    def metrics_in_training(self, model: ModelConfig) -> tuple[str, ...]:
        """Return the names of what this measures of a model while it is trained.

        Raises:
          ConfigError: for a head that predicts nothing.
        """
        names = ["loss"] + ["perplexity"] * model.outputs[0].has_likelihood
        for number, output in enumerate(model.outputs):
            prefix = f"{output.name}_" if number else ""
            names += [f"{prefix}{name}" for name in output.metrics]
        names += model.predicted_metrics
        names += OF_SCORED_PAIRS * model.embeds
        names += ["text_loss"] * model.writes + ["encoder_use"] * (self.encoder_use and model.cross_attends)
        return tuple(dict.fromkeys(names))

    def check(self, field: str, data: SourceDataConfig, model: ModelConfig) -> None:
        """Check that this can be measured.

        Args:
          field: which this is, for messages.
          data: of the training, which says how examples are made of ``store``.
          model: that is measured.

        Raises:
          ConfigError: naming what is wrong.
        """
        if self.batch_size < 1:
            raise ConfigError(f"{field}.batch_size={self.batch_size} must be positive")
        for name in ("max_examples", "every_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{field}.{name}={value} must be positive, or None")
        if self.encoder_use and model.cross_attends and self.batch_size < 2:
            raise ConfigError(
                f"{field}.batch_size={self.batch_size} must be at least 2: encoder use swaps rows; or set "
                f"{field}.encoder_use=False"
            )
        if self.task_in_training and not self.task:
            raise ConfigError(f"{field}.task_in_training needs a task: give {field}.task")
        if self.task and data.is_text:
            raise ConfigError(
                f"{field}.task={self.task!r} scores text generated for pairs, but {data.store} is plain "
                "text; leave the task out, or fine-tune on pairs first, as configs/finetune_pairs.py does"
            )
        if self.task and not model.writes:
            raise ConfigError(
                f"{field}.task={self.task!r} scores generated text, and an encoder-only model writes none; "
                "set it to None: accuracy is measured without"
            )


def check_name(name: str) -> None:
    """Check that an evaluation can be called so.

    Raises:
      ConfigError: if its metrics, files or options could not.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"evaluations has one called {name!r}; a name has lower-case letters, digits and '-', begins "
            "with a letter or digit, and has at most 40 characters"
        )


def known_name(name: str, names: Iterable[str], *, said_by: str) -> str:
    """Return the name of one of the evaluations.

    Args:
      name: what should be one.
      names: of all evaluations.
      said_by: who says that it is one, for the message.

    Raises:
      ConfigError: if it is none, with a suggestion.
    """
    if name not in (known := list(names)):
        remedy = suggestion(name, known) if known else "; the run has none"
        raise ConfigError(f"{said_by} names the evaluation {name!r}, which is none{remedy}")
    return name
