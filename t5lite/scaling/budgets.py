"""What a run may cost, in FLOPs, tokens or hours of a slice; each budget says how many steps that is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

from t5lite.core.errors import ConfigError
from t5lite.planning.hardware.accelerator_types import parse_chips
from t5lite.planning.search.candidates import search
from t5lite.run_config import RunConfig
from t5lite.runner.planned_recipe import workload_of
from t5lite.scaling.counting import EXACT, convention, count_run, shape_of


class Budget(ABC):
    """What a run may cost."""

    @abstractmethod
    def steps(self, config: RunConfig) -> float:
        """Return how many steps of this run it pays for, not rounded."""


@dataclass(frozen=True, kw_only=True)
class Flops(Budget):
    """Training FLOPs."""

    flops: float
    convention: str = EXACT
    """By which they are counted (``counting.CONVENTIONS``)."""

    def __post_init__(self) -> None:
        _check(self.flops, "flops")
        convention(self.convention)

    def steps(self, config: RunConfig) -> float:
        """Return the budget by the FLOPs of a step."""
        return self.flops / (count_run(config, self.convention).flops / config.training.total_steps)


@dataclass(frozen=True, kw_only=True)
class Tokens(Budget):
    """Tokens that enter the model, of both sides."""

    tokens: float

    def __post_init__(self) -> None:
        _check(self.tokens, "tokens")

    def steps(self, config: RunConfig) -> float:
        """Return the budget by the tokens of a step."""
        return self.tokens / (shape_of(config).tokens * config.training.batch_size)


@dataclass(frozen=True, kw_only=True)
class TokensPerParameter(Budget):
    """Tokens in proportion to the model: 20 is Chinchilla's optimum, what OLMo's ladder calls 1xC."""

    ratio: float
    convention: str = "kaplan"
    """By which parameters are counted; OLMo's ladder leaves embeddings out."""

    def __post_init__(self) -> None:
        _check(self.ratio, "ratio")
        convention(self.convention)

    def steps(self, config: RunConfig) -> float:
        """Return those of the tokens that the model's size asks for."""
        params = convention(self.convention).params(shape_of(config))
        return Tokens(tokens=self.ratio * params).steps(config)


@dataclass(frozen=True, kw_only=True)
class Hours(Budget):
    """Hours of a slice, at the pace that the planner predicts for the best way to run the step on it.

    It is what ``t5lite plan`` finds without the compiler: at least so long does a step take.
    """

    hours: float
    chips: str
    """Such as v5e-256 or v5p:4x4x8."""
    num_slices: int = 1

    def __post_init__(self) -> None:
        _check(self.hours, "hours")
        parse_chips(self.chips, num_slices=self.num_slices)

    def steps(self, config: RunConfig) -> float:
        """Return the hours by the predicted time of a step.

        Raises:
          ConfigError: if no way is predicted to fit.
        """
        workload = workload_of(config, parse_chips(self.chips, num_slices=self.num_slices))
        found = search(workload.costs(), trainable=config.trainable, kept=config.partitioning)
        if not found.ranked:
            raise ConfigError(
                f"no way is predicted to fit {self.chips} with a model {config.model.embed_dim} wide and "
                f"{config.training.batch_size} rows a step; name a larger slice, or a smaller batch"
            )
        return self.hours * 3600 / found.ranked[0].prediction.time.step


def _check(value: float, name: str) -> None:
    if not isinstance(value, Real):
        raise ConfigError(f"a budget of {name}={value!r} must be a number, such as 1e12")
    if not 0 < value < float("inf"):
        raise ConfigError(f"a budget of {name}={value} must be above 0 and finite")
