"""What is said of held-out data, so that nobody takes its figures for more than they are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from t5lite.core.errors import DataError
from t5lite.data.stores.store_identity import store_identity
from t5lite.run_config import RunConfig
from t5lite.runner.heldout import Heldout

_OF_THE_DATA = ("store", "source", "max_examples", "average")
"""Fields of an evaluation with another value of which its figures are of something else."""


@dataclass(frozen=True)
class MajorityClass:
    """The most frequent class of the examples that an evaluation uses."""

    text: str
    share: float
    num_examples: int

    def __str__(self) -> str:
        if self.share == 1:
            return (
                f"note: all {self.num_examples:,} held-out examples are {self.text!r}: their accuracy says "
                "nothing of the other classes; hold back some of each"
            )
        return (
            f"of {self.num_examples:,} held-out examples {self.share:.1%} are {self.text!r}: whoever always "
            f"says so has accuracy {self.share:.4f}"
        )


def heldout_messages(config: RunConfig, evaluations: Mapping[str, Heldout]) -> list[str]:
    """Return what to say of the evaluations of a training that begins or goes on."""
    messages = []
    for name, heldout in evaluations.items():
        label = f"{name}: " if len(evaluations) > 1 else ""
        if remembered := trained_on(config, heldout.config.store):
            messages.append(remembered)
        if majority := majority_class(heldout):
            messages.append(f"{label}{majority}")
        every, total = heldout.config.every_steps, config.training.total_steps
        if every is not None and every > total:
            messages.append(
                f"note: evaluations.{name}.every_steps={every} is more than training.total_steps={total}: it "
                "is made before the first and after the last step only"
            )
    return list(dict.fromkeys(messages))


def best_messages(config: RunConfig, changed: Collection[str] = ()) -> list[str]:
    """Return what to say of a training whose best checkpoint may not be there when it ends, or be another.

    Args:
      config: of the run.
      changed: fields that are not as they were up to where it goes on; a store that moved is not among them.
    """
    training, checkpoints, name = config.training, config.checkpoints, config.best_evaluation
    stops_early = training.early_stopping_patience is not None
    if name is None or not (stops_early or checkpoints.keep_best):
        return []
    messages = []
    if not checkpoints.keep_best:
        messages.append(
            f"note: training.early_stopping_patience={training.early_stopping_patience} ends the run so many "
            "evaluations after its best, whose checkpoint is not kept: --checkpoints.keep-best 1 keeps it"
        )
    data = [f"evaluations.{name}.{field}" for field in _OF_THE_DATA]
    if others := [field for field in data if field in changed]:
        messages.append(
            f"note: {', '.join(others)} changed, and figures of before and after are compared for what is "
            "best; another --run-dir with --initialize-from.run begins anew"
        )
    every = config.evaluations[name].every_steps or training.eval_every_steps
    saves = checkpoints.save_every_steps
    if every is not None and every % saves:
        messages.append(
            f"note: {name} is measured every {every} steps and checkpoints are saved every {saves}: the best "
            f"is the best of both; --checkpoints.save-every-steps {every} saves whatever is measured"
        )
    return messages


def majority_class(heldout: Heldout) -> MajorityClass | None:
    """Return what the accuracy of a classifier is read against; None of data without classes."""
    pipeline = heldout.pipeline
    if pipeline.classes is None or pipeline.labels is None:
        return None
    labels = pipeline.labels[pipeline.evaluated(heldout.config.max_examples)]
    counts = np.bincount(labels)
    largest = int(counts.argmax())
    return MajorityClass(pipeline.classes.texts[largest], float(counts[largest] / len(labels)), len(labels))


def trained_on(config: RunConfig, heldout: str) -> str | None:
    """Return what to say where the held-out store is one that is trained on; else None.

    Nothing is said where one of them cannot be read: after training, the text may be gone.
    """
    for store in config.training_stores:
        try:
            same = store_identity(store) == store_identity(heldout)
        except DataError:
            continue
        if same:
            return (
                f"note: the held-out store {heldout} holds what is trained on, {store}: figures on it say "
                "how well that is remembered, not what is learned from it; `t5lite prepare` writes what it "
                "keeps back to OUTPUT/heldout"
            )
    return None
