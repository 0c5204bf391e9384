"""Scored pairs: correlations of cosines are SciPy's, and what says nothing is said."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

from t5lite import run_config
from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.text_pair_examples import TextPairsDataConfig
from t5lite.data.pipeline import evaluation_indices, open_pipeline
from t5lite.data.stores.pair_store import PairStoreWriter
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.evaluation.config import OF_SCORED_PAIRS, EvaluationConfig
from t5lite.runner import similarity_scoring
from t5lite.runner.heldout import Heldout, check_best_is_measured
from t5lite.runner.similarity_scoring import SimilarityScorer
from t5lite.tasks import TASKS
from tests.families import FAMILIES

CONFIG = run_config.load(Path(__file__).parents[2] / "e2e" / "tiny_recipe.py")


def stored(path, scores, *, label="similarity"):
    vocabulary = ByteVocabulary()
    with PairStoreWriter(path, vocabulary=vocabulary, has_labels=True) as writer:
        texts = [(vocabulary.encode(f"a{number}"), vocabulary.encode("ß b")) for number in range(len(scores))]
        writer.add_batch(texts)
        writer.add_labels(json.dumps({label: score}) for score in scores)
    return path


def opened(path, **options):
    config = TextPairsDataConfig(store=str(path), inputs_length=12, hard_negatives=True)
    return open_pipeline(config, architecture="encoder_only", shuffle=False, **options)


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """Score pairs whose vectors are such that their cosines are these."""

    def of(scores, cosines, max_examples=None):
        cosines_N = np.array(cosines, np.float32)
        first_ND = np.stack([np.ones_like(cosines_N), np.zeros_like(cosines_N)], axis=1)
        vectors_NTD = np.stack([first_ND, np.stack([cosines_N, np.sqrt(1 - cosines_N**2)], axis=1)], axis=1)
        used_NTD = vectors_NTD[evaluation_indices(len(scores), max_examples)]
        monkeypatch.setattr(similarity_scoring, "PairVectors", lambda *_: lambda *_: used_NTD)
        pairs = opened(stored(tmp_path / "pairs", scores)).text_pairs
        heldout = SimpleNamespace(config=SimpleNamespace(max_examples=max_examples, store="sts"))
        return SimilarityScorer(None, heldout, pairs, None)({})

    return of


@pytest.mark.parametrize("num_values", [3, 40])
def test_correlations_are_scipys_with_ties_and_without(num_values, scored):
    rng = np.random.default_rng(0)
    scores = (rng.integers(0, num_values, size=40) / 5).tolist()
    cosines = (rng.integers(-num_values, num_values, size=40) / (num_values + 1)).astype(np.float32)
    found = scored(scores, cosines)
    assert found.found["spearman"].value == pytest.approx(scipy.stats.spearmanr(cosines, scores).statistic)
    assert found.found["pearson"].value == pytest.approx(scipy.stats.pearsonr(cosines, scores).statistic)
    interval = found.found["spearman"].interval
    assert interval is not None
    assert interval.low < found.found["spearman"].value < interval.high
    assert found.notes == ("40 scored pairs",)
    for each in found.examples:
        assert each["input"] == f"a{each['example']}\nß b"
        assert float(each["reference"]) == scores[each["example"]]
        assert np.float32(each["prediction"]) == cosines[each["example"]]


def test_what_cannot_be_correlated_is_said(scored):
    found = scored([-1, -1, -1], [0.5, 0.25, 0.5])
    assert {name: score.value for name, score in found.found.items()} == {"spearman": 0, "pearson": 0}
    assert found.notes[1:] == ("all scores are -1, so that there is no correlation, and 0 stands for it",)


def test_cosines_that_are_not_finite_are_counted(scored):
    found = scored([1, 2, 3], [0.5, np.nan, 0.75])
    assert "1 cosines are not finite and count as -1" in found.notes[1]
    assert found.found["spearman"].value == pytest.approx(0.5)


def test_fewer_than_three_pairs_are_refused(scored):
    with pytest.raises(DataError, match="2 scored pairs of sts are measured, and a correlation of fewer"):
        scored([1, 2], [0.5, 0.25])


def test_scored_pairs_are_measured_and_not_trained_on(tmp_path):
    store = stored(tmp_path / "pairs", [1, 2.5, 3])
    pipeline = opened(store)
    assert pipeline.text_pairs is not None
    assert pipeline.text_pairs.similarities_N is not None
    assert pipeline.text_pairs.similarities_N.tolist() == [1, 2.5, 3]
    (batch,) = pipeline.eval_batches(3)
    assert "negative_numbers" not in batch
    assert batch["encoder_input_tokens"].shape == (3, 24)


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        (TextPairsDataConfig, "encoder_only"),
        (PairsDataConfig, "encoder_only"),
        (PairsDataConfig, "encoder_decoder"),
        (PairsDataConfig, "decoder_only"),
    ],
)
def test_no_training_learns_scored_pairs_unlike_ones_among_them(kind, architecture, tmp_path):
    config = kind(store=str(stored(tmp_path / "pairs", [1, 2.5, 3])))
    with pytest.raises(DataError, match=r"says how alike its pairs are.* evaluations.NAME.store"):
        open_pipeline(config, architecture=architecture)


def test_tasks_of_vectors_name_what_measures_them_or_what_is_written():
    assert (TASKS["sts"].metrics, TASKS["triplets"].metrics) == (OF_SCORED_PAIRS, ("bleu", "chrf"))


@pytest.mark.parametrize(
    ("label", "has", "lacks"),
    [("similarity", ("spearman", "pearson"), ("loss", "mrr")), ("negative", ("loss", "mrr"), ("spearman",))],
)
@pytest.mark.parametrize("goes_by_it", ["keep_best", "early_stopping"])
def test_the_best_is_chosen_by_what_opened_pairs_have(label, has, lacks, goes_by_it, tmp_path):
    """Before the first step: an evaluation of the other kind of pairs would have nothing of that name."""
    evaluation = EvaluationConfig(store="data/sts", every_steps=1)
    pipeline = opened(stored(tmp_path / "pairs", [1, 2.5, 3], label=label))
    config = dataclasses.replace(
        CONFIG,
        data=TextPairsDataConfig(store="x"),
        model=dataclasses.replace(FAMILIES["bert"], head="sentence_embedding", max_length=128),
        evaluations={"sts": evaluation},
    )
    patience = 1 if goes_by_it == "early_stopping" else None

    def check(metric: str, *, is_used: bool = True) -> None:
        kept = CheckpointConfig(keep_best=int(is_used and patience is None), best_metric=metric)
        training = dataclasses.replace(config.training, early_stopping_patience=patience if is_used else None)
        asked = dataclasses.replace(config, checkpoints=kept, training=training)
        check_best_is_measured(asked, {"sts": Heldout("sts", evaluation, pipeline)})

    for metric in has:
        check(metric)
    for metric in lacks:
        check(metric, is_used=False)
        with pytest.raises(
            ConfigError, match=rf"best_metric='{metric}' is not .*evaluations\.sts .*; allowed: "
        ):
            check(metric)
