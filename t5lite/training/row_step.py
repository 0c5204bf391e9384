"""What an evaluation measures of each example: the metrics of the evaluation step, summed over a row each."""

import numpy as np

from t5lite.core.metrics import WeightedSum, row_sums
from t5lite.core.types import Tree
from t5lite.models.functional import FunctionalModel
from t5lite.training.losses import losses_and_hits, text_weights
from t5lite.training.predictions import predictions
from t5lite.training.step import DeviceBatch, EvalStep


def make_row_step(model: FunctionalModel, *, sentinel_ids: np.ndarray, eos_id: int | None) -> EvalStep:
    """Return ``step.make_eval_step``'s function with a pair for each row, [B], where that has one of all."""

    def row_step(params: Tree, batch: DeviceBatch) -> dict[str, WeightedSum]:
        metrics: dict[str, WeightedSum] = {}
        found = predictions(model.bind(params), batch)
        for number, (output, prediction) in enumerate(zip(model.config.outputs, found, strict=True)):
            prefix = f"{output.name}_" if number else ""
            _, _, targets_BL, weights_BL, _ = prediction
            loss_BL, hits_BL = losses_and_hits(prediction)
            for name, value_BL in zip(output.metrics, (loss_BL, hits_BL), strict=False):
                metrics[f"{prefix}{name}"] = row_sums(value_BL, weights_BL)
            if model.config.writes:
                text_BL = text_weights(targets_BL, weights_BL, sentinel_ids=sentinel_ids, eos_id=eos_id)
                metrics["text_loss"] = row_sums(loss_BL, text_BL)
        return metrics

    return row_step
