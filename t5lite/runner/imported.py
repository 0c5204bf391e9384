"""Measuring a model that was imported: no recipe says how, so the kind of the store and the model do."""

from t5lite.core.architectures import has_one_row
from t5lite.core.errors import ConfigError
from t5lite.data.objectives import Objective, usual_objective
from t5lite.data.pipeline import PairsDataConfig, PretrainingDataConfig, SourceDataConfig
from t5lite.data.sources import LABELLED_DATA
from t5lite.data.stores.pair_store import PairStore, is_pair_store
from t5lite.models.config import ModelConfig
from t5lite.optim import AdamWConfig, Constant
from t5lite.run_config import EvaluationConfig, RunConfig
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.config import TrainingConfig
from t5lite.training.metrics_log import UNNAMED_EVALUATION

_SHORTEST = 3
"""Tokens of a row: [CLS], a token, [SEP]."""
_UNMEASURED = "evaluate measures no such model"


def measuring_config(
    directory: RunDirectory,
    model: ModelConfig,
    evaluation: EvaluationConfig,
    *,
    inputs_length: int | None = None,
) -> tuple[RunConfig, str]:
    """Return a configuration that measures an imported model on held-out data, and what to say of it.

    Text is measured by the usual objective of the architecture, over as many tokens as the model has
    positions for. Pairs are as long as the longest of them, within the same limit.

    Args:
      directory: of the import.
      model: of the import.
      evaluation: of the held-out data.
      inputs_length: of the inputs, instead of that.

    Raises:
      ConfigError: if the model predicts nothing that such a store has.
      DataError: if the store cannot be read.
    """
    if is_pair_store(evaluation.store):
        _check_measures_pairs(model)
        data = _pairs(model, evaluation.store, inputs_length)
        what = data.kind if not model.writes else (f"pairs, with targets of {data.answer_length} tokens")
    else:
        data = PretrainingDataConfig(
            store=evaluation.store,
            inputs_length=inputs_length or model.max_length,
            objective=_usual_objective(model),
        )
        what = data.kind
    config = RunConfig(
        run_dir=str(directory.path),
        model=model,
        data=data,
        evaluations={UNNAMED_EVALUATION: evaluation},
        # What training alone reads says nothing here.
        optimizer=AdamWConfig(),
        schedule=Constant(),
        training=TrainingConfig(total_steps=1, batch_size=1),
    )
    return config, (
        f"imported, without a recipe: measured by {what}, with inputs of {data.inputs_length} tokens; "
        "--inputs-length changes them"
    )


def _check_measures_pairs(model: ModelConfig) -> None:
    if not model.writes and model.head not in LABELLED_DATA:
        on_text = usual_objective(model.architecture, model.head)
        raise ConfigError(
            f"the imported model has head={model.head!r}, which tells no targets of pairs apart; "
            + ("give it text by --store" if on_text else _UNMEASURED)
        )


def _usual_objective(model: ModelConfig) -> Objective:
    objective = usual_objective(model.architecture, model.head)
    if objective is None:
        raise ConfigError(
            f"the imported model has head={model.head!r}, which predicts no token of a text; "
            + ("give it pairs by --store" if model.head in LABELLED_DATA else _UNMEASURED)
        )
    return objective


def _pairs(model: ModelConfig, store: str, inputs_length: int | None) -> SourceDataConfig:
    pairs, limit = PairStore.open(store), max(model.max_length, _SHORTEST)
    num_framing = PairsDataConfig(store=store).num_framing(model.architecture, pairs.vocabulary())
    longest_inputs = int(pairs.inputs.document_lengths.max(initial=0)) + num_framing
    longest_targets = int(pairs.targets.document_lengths.max(initial=0)) + 1
    targets = max(2, min(longest_targets, limit))
    if has_one_row(model.architecture):
        targets = max(2, min(longest_targets, limit // 2))
        limit = max(_SHORTEST, limit - targets + 1)
    inputs = inputs_length or max(_SHORTEST, min(longest_inputs, limit))
    if not model.writes:
        data = LABELLED_DATA[model.head](store=store, inputs_length=inputs)
        return data.with_token_types(model.tells_sentences_apart)
    return PairsDataConfig(store=store, inputs_length=inputs, targets_length=targets)
