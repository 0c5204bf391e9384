"""What held-out batches say of parameters, in training and by ``t5lite evaluate``."""

import functools
from collections.abc import Callable, Generator, Mapping
from contextlib import closing

import jax

from t5lite.core.types import Tree
from t5lite.data.host_loader import device_batches, local_rows
from t5lite.evaluation.evaluator import Measured, measure
from t5lite.models.functional import FunctionalModel
from t5lite.partitioning import Partitioner
from t5lite.runner.heldout import Heldout
from t5lite.training.row_step import make_row_step
from t5lite.training.step import compile_eval_step, make_eval_step, num_data_devices


def heldout_evaluators(
    model: FunctionalModel,
    partitioner: Partitioner,
    evaluations: Mapping[str, Heldout],
    *,
    by_example: bool = False,
    before_batch: Callable[[], None] = lambda: None,
) -> dict[str, Callable[[Tree], Measured]]:
    """Return the functions from parameters to held-out metrics, by the evaluations' names.

    What has no loss is measured by its scorer alone. They share a step, which compiles once for each shape of
    a batch. What ``before_batch`` raises ends an evaluation.

    Args:
      model: what parameters belong to.
      partitioner: where they lie.
      evaluations: by name.
      by_example: whether the rows of what is measured are examples (those that fill up a batch come last).
      before_batch: is called before each.
    """
    vocabularies = [heldout.pipeline.vocabulary for heldout in evaluations.values()]
    if not vocabularies:
        return {}
    vocabulary = vocabularies[0]  # that of the model
    make = make_row_step if by_example else make_eval_step
    step = make(model, sentinel_ids=vocabulary.sentinel_ids, eos_id=vocabulary.eos_id)
    eval_step = compile_eval_step(step, model, partitioner)

    def evaluate_params(heldout: Heldout, params: Tree) -> Measured:
        if not heldout.has_loss:
            return Measured({}, {})
        encoder_use = heldout.measures_encoder_use(model.config)
        with closing(heldout_batches(heldout, partitioner, before_batch)) as batches:
            return measure(
                eval_step,
                params,
                batches,
                measure_encoder_use=encoder_use,
                has_likelihood=model.config.outputs[0].has_likelihood,
            )

    return {name: functools.partial(evaluate_params, heldout) for name, heldout in evaluations.items()}


def clamped_batch_size(heldout: Heldout, partitioner: Partitioner) -> int:
    """Return the configured batch size, or the least for all examples that the mesh divides."""
    devices = num_data_devices(partitioner)
    return min(heldout.config.batch_size, -(-heldout.num_examples // devices) * devices)


def heldout_batches(
    heldout: Heldout, partitioner: Partitioner, before_batch: Callable[[], None] = lambda: None
) -> Generator[dict[str, jax.Array], None, None]:
    """Yield one pass over the examples of an evaluation, on their devices."""
    sharding = partitioner.batch_sharding
    batch_size = clamped_batch_size(heldout, partitioner)
    rows = local_rows(sharding, batch_size)
    host_batches = heldout.pipeline.eval_batches(batch_size, rows, max_examples=heldout.config.max_examples)
    with device_batches(host_batches, sharding=sharding) as batches:
        for batch in batches:
            before_batch()
            yield batch
