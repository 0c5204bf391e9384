"""What scores predictions for the examples of an evaluation, and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from t5lite.core.types import Tree
from t5lite.evaluation.metrics.bootstrap import Difference
from t5lite.evaluation.metrics.score import Score

_NUM_SAMPLES = 50


@dataclass(frozen=True)
class Scored:
    """What a model predicted, and how well.

    Attributes:
      found: the metrics by name.
      examples: one record an example, in the order of the store: ``example`` (its number in the store),
        ``input``, ``reference`` (and ``other_references``, where there are any), ``prediction``,
        ``input_cut``, ``output_cut``, and ``scores`` of its own by the metrics that an example alone has; of
        a classifier ``probabilities`` of the classes.
      notes: what to know when reading them, a line each.
    """

    found: Mapping[str, Score]
    examples: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> dict[str, float]:
        """The metrics by name, and their errors."""
        values = {name: score.value for name, score in self.found.items()}
        errors = {f"{name}_error": score.error for name, score in self.found.items()}
        return values | {name: error for name, error in errors.items() if error is not None}

    @property
    def samples(self) -> tuple[dict[str, str], ...]:
        """Inputs, target and prediction of the first examples."""
        return samples(self.examples)


def samples(examples: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], ...]:
    """Return inputs, target and prediction of the first of what was predicted."""
    return tuple(
        {"inputs": each["input"], "target": each["reference"], "prediction": each["prediction"]}
        for each in examples[:_NUM_SAMPLES]
    )


@dataclass(frozen=True)
class Robustness:
    """What a change of the inputs does.

    Attributes:
      num_changed: inputs that it changes.
      changes: of each metric, the value with it less that without, on the same examples.
    """

    num_changed: int
    changes: Mapping[str, Difference]


class Scorer(ABC):
    """Predicts for the examples of an evaluation and scores that; keep it, and it compiles once."""

    metrics: Sequence[str]
    """Names of those that predictions have."""

    @abstractmethod
    def __call__(self, params: Tree, *, before_output: Callable[[], None] = lambda: None) -> Scored:
        """Return what is predicted with these parameters.

        Args:
          params: of the model.
          before_output: is called again and again meanwhile; what it raises ends it.
        """

    def robustness(self, params: Tree, plain: Scored) -> Mapping[str, Robustness]:
        """Return what each change of the inputs does, by its name; nothing where none can be changed.

        Args:
          params: of the model.
          plain: what it scored without, on two examples or more.
        """
        del params, plain
        return {}
