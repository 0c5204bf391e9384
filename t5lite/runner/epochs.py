"""The length of a run in epochs: how many steps they are, of this data and from where the run stands."""

import dataclasses
import math
from fractions import Fraction

from t5lite.core.errors import ConfigError
from t5lite.data.pipeline import BatchStream
from t5lite.run_config import RunConfig
from t5lite.runner.run_plan import RunPlan


def with_steps_of_epochs(config: RunConfig, pipeline: BatchStream, plan: RunPlan) -> RunConfig:
    """Return the configuration with the steps of ``training.epochs``; the same one if it goes by steps.

    Raises:
      ConfigError: as of ``steps_of_epochs``.
    """
    training = config.training
    if training.epochs is None:
        return config
    steps = steps_of_epochs(
        training.epochs,
        training.batch_size,
        pipeline,
        step=plan.step,
        seen=plan.position.examples_seen,
    )
    return dataclasses.replace(config, training=dataclasses.replace(training, total_steps=steps))


def steps_of_epochs(epochs: float, batch_size: int, pipeline: BatchStream, *, step: int, seen: int) -> int:
    """Return at which step epochs end, for a run that has made so many steps and seen so many examples.

    They follow from the examples alone, so that neither hosts nor devices change them; after a change of the
    batch size the run ends at the same example, and where examples are left out as many fewer are trained
    on. The last batch is whole: where it reaches beyond the last epoch, it begins another, unless
    ``max_epochs`` ends the data there.

    Raises:
      ConfigError: for a mixture, whose sources end at different places, or if there is no whole batch.
    """
    if pipeline.history is not None:
        raise ConfigError(
            f"training.epochs={epochs:g}: a mixture has no epoch, for its sources end at different places; "
            "set it to None and give training.total_steps"
        )
    end = _end(epochs, pipeline)
    more = math.ceil(max(end - pipeline.left_out.num_before(end) - seen, 0) / batch_size)
    if pipeline.num_steps(batch_size, start=seen) == more - 1:
        more -= 1
    if not step + more:
        raise ConfigError(
            f"training.epochs={epochs:g} of {pipeline.num_examples:,} examples is less than one batch of "
            f"{batch_size}; use more epochs, or lower training.batch_size"
        )
    return step + more


def epochs_message(config: RunConfig, pipeline: BatchStream) -> str | None:
    """Return what to say of the length of a run in epochs."""
    training = config.training
    if training.epochs is None:
        return None
    left_out = pipeline.left_out.num_before(_end(training.epochs, pipeline))
    without = f", {left_out:,} of them left out" if left_out else ""
    return (
        f"training.epochs={training.epochs:g} of {pipeline.num_examples:,} examples{without}: "
        f"training.total_steps={training.total_steps:,} of {training.batch_size}"
    )


def _end(epochs: float, pipeline: BatchStream) -> int:
    """Return the example at which epochs end, of the number as it is written: 1.1 of 100 are 110, not 111."""
    return math.ceil(Fraction(str(epochs)) * pipeline.num_examples)
