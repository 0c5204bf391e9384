"""The training data of a run: opened where the run goes on, and checked to last for all of its steps."""

import functools

from t5lite.core.errors import ConfigError
from t5lite.data.examples.label_classes import check_num_labels
from t5lite.data.pipeline import BatchStream, open_pipeline
from t5lite.data.position import DataPosition
from t5lite.run_config import RunConfig
from t5lite.runner.run_plan import RunPlan


def open_training_pipeline(config: RunConfig, plan: RunPlan) -> BatchStream:
    """Return the training data; its classes, if any, are those the run was started with.

    The sources of a mixture go on where they were, whatever their shares are now.

    Args:
      config: of the run.
      plan: of the run.

    Raises:
      DataError: if the store cannot be used, or has classes that the run or its model has not.
      ConfigError: if the settings contradict the store.
    """
    resumed = plan.resumed
    open_with = functools.partial(
        open_pipeline,
        config.data,
        architecture=config.model.architecture,
        start_id=config.model.decoder_start_id,
        seed=config.seed,
        on_damage=config.loader.on_damage,
        history=resumed.mixture if resumed else None,
        position=plan.place if resumed else 0,
    )
    pipeline = open_with(classes=plan.classes)
    if plan.classes is None and pipeline.classes is not None:  # the run begins, or has lost the file
        known = plan.source.classes_for(config.model, pipeline.classes) if plan.source else None
        if known is not None:  # outputs keep their numbers, and classes their names
            pipeline = open_with(classes=known)
    if pipeline.classes is not None and config.model.num_named_labels is not None:
        check_num_labels(pipeline.classes, config.model.num_named_labels, store=config.training_stores[0])
    pipeline.leave_out(plan.left_out)
    return pipeline


def check_epochs(
    pipeline: BatchStream, config: RunConfig, *, step: int = 0, position: DataPosition | None = None
) -> None:
    """Check that the data lasts for the whole run: the schedule counts on every step.

    Args:
      pipeline: of the training data.
      config: of the run.
      step: at which the run goes on.
      position: the examples seen by then; none if it is None.

    Raises:
      ConfigError: naming how many steps there are.
    """
    batch_size, total_steps = config.training.batch_size, config.training.total_steps
    position = position or DataPosition()
    available = pipeline.num_steps(batch_size, start=position.examples_seen)
    if available is None or step + available >= total_steps:
        return
    enough = "raise max_epochs"
    if pipeline.history is None:
        seen = position.after(total_steps - step, batch_size=batch_size).examples_seen
        needed = pipeline.left_out.place(seen - 1) + 1
        enough = f"set max_epochs to {-(-needed // pipeline.num_examples)}, or None"
    if not available and not step:
        raise ConfigError(
            f"data: {pipeline.end} is less than one batch of {batch_size}; {enough}, or lower "
            f"training.batch_size to at most {pipeline.num_positions}"
        )
    seen = f"{step} steps have seen {position.examples_seen:,} examples, and " if step else ""
    raise ConfigError(
        f"data: {seen}{pipeline.end} is {available} {'more ' if step else ''}batches of {batch_size}, fewer "
        f"than training.total_steps={total_steps}; use at most {step + available} steps, or {enough}"
    )
