"""Metrics against the implementations that the field takes for the reference, on inputs that are not kind."""

import importlib.metadata
import math
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import scipy.stats
import seqeval.metrics
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.calibration import calibration_curve

from t5lite.core.errors import ConfigError, DataError
from t5lite.evaluation import metrics
from t5lite.evaluation.metrics import METRICS
from t5lite.evaluation.metrics.calibration import brier_score, calibration, expected_calibration_error
from t5lite.evaluation.metrics.classification import BinaryF1
from t5lite.evaluation.metrics.summarization import sentences
from t5lite.evaluation.metrics.translation import Bleu
from t5lite.evaluation.scoring import named_metrics
from t5lite.tasks.fields import Entities, Roles

HARNESS = Path(importlib.metadata.distribution("lm_eval").locate_file("lm_eval"))
SQUAD = runpy.run_path(str(HARNESS / "tasks" / "qasper" / "metrics.py"))
"""What it has of SQuAD's script, in a file of its own: to import the package takes seconds."""
LABELS = st.sampled_from(["a", "b", "c", "ß"])
NUMBERS = st.integers(-3, 3).map(str)
WORDS = st.sampled_from(
    [
        "the",
        "The",
        "cat",
        "sat",
        "an",
        "dog's",
        "U.S.",
        "1,000",
        "Straße",
        "crió",
        "\n",
        "--",
        "...",
        "日本",
        "",
    ]
)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
LINES = st.lists(TEXTS, max_size=3).map("\n".join)


def pairs_of(predictions, references, max_size=8):
    return st.lists(st.tuples(predictions, references), min_size=1, max_size=max_size).map(
        lambda pairs: tuple(map(list, zip(*pairs, strict=True)))
    )


def said_by_sklearn(function, *arguments, **options):
    with warnings.catch_warnings():  # of one class, and of classes that nobody predicts
        warnings.simplefilter("ignore")
        return float(function(*arguments, **options))


@settings(deadline=None)
@given(pairs_of(st.one_of(LABELS, st.sampled_from(["", "no label"])), LABELS))
def test_classification_is_scikit_learns(pair):
    predictions, references = pair
    classes = sorted(set(references))
    for name, average in (("macro_f1", "macro"), ("micro_f1", "micro")):
        expected = said_by_sklearn(
            sklearn.metrics.f1_score, references, predictions, labels=classes, average=average
        )
        assert METRICS[name](predictions, references).value == pytest.approx(expected, abs=1e-12)
    expected = said_by_sklearn(
        sklearn.metrics.f1_score, [each == "b" for each in references], [each == "b" for each in predictions]
    )
    assert BinaryF1("b")(predictions, references).value == pytest.approx(expected, abs=1e-12)
    expected = said_by_sklearn(sklearn.metrics.matthews_corrcoef, references, predictions)
    assert metrics.matthews(predictions, references).value == pytest.approx(expected, abs=1e-12)
    expected = sklearn.metrics.accuracy_score(references, predictions)
    assert metrics.accuracy(predictions, references).value == pytest.approx(expected)


@settings(deadline=None)
@given(pairs_of(NUMBERS, NUMBERS), st.sampled_from([1.0, 1e-9, 1e12]), st.sampled_from([0.0, 1e6]))
def test_correlations_are_scipys_and_0_of_constants(pair, scale, offset):
    predictions, references = ([str(scale * float(each) + offset * scale) for each in side] for side in pair)
    x, y = (np.array(side, np.float64) for side in (predictions, references))
    for name, reference in (("pearson", scipy.stats.pearsonr), ("spearman", scipy.stats.spearmanr)):
        value = METRICS[name](predictions, references).value
        if len(set(x)) == 1 or len(set(y)) == 1:
            assert value == 0
        else:
            assert value == pytest.approx(reference(x, y).statistic, abs=1e-7)


def test_correlation_counts_what_is_no_number():
    score = metrics.pearson(["1", "two", "nan", "4"], ["1", "2", "3", "4"])
    assert score.signature == "no-number:2 as -1"
    assert score.value == metrics.pearson(["1", "-1", "-1", "4"], ["1", "2", "3", "4"]).value
    with pytest.raises(DataError, match="reference of example 1 is no finite number"):
        metrics.spearman(["1", "2"], ["1", "two"])


def squad(answer, reference):
    """Exact match and F1 as the harness has them from SQuAD's script; 2.0 added that no answer fits none."""
    mine, theirs = map(SQUAD["normalize_answer"], (answer, reference))
    if not mine or not theirs:
        return mine == theirs, mine == theirs
    return mine == theirs, SQUAD["f1_abstractive"]([answer], [reference])


@settings(deadline=None)
@given(pairs_of(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)))
def test_answers_are_scored_as_by_squads_script(pair):
    predictions, references = pair
    scores = [[squad(p, r) for r in several] for p, several in zip(predictions, references, strict=True)]
    best = np.array([np.max(several, axis=0) for several in scores])
    exact, f1 = 100 * best.mean(axis=0)
    exact_match, token_f1 = (METRICS[name](predictions, references) for name in ("exact_match", "token_f1"))
    if "words" in exact_match.signature:
        assert exact_match.value == pytest.approx(exact)
        assert token_f1.value == pytest.approx(f1)
    else:  # most letters are of a writing without spaces, where none can make a difference
        assert exact_match.value >= exact - 1e-9


TAGS = st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y", "E-X", "S-Y", "I-X-1", "B", "I"])
SENTENCE = st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=7)


@settings(deadline=None)
@given(st.lists(SENTENCE, min_size=1, max_size=4))
def test_entities_are_seqevals(sentences):
    predictions, references = ([[tags[side] for tags in each] for each in sentences] for side in (0, 1))
    with warnings.catch_warnings():  # of no entity at all
        warnings.simplefilter("ignore")
        expected = float(seqeval.metrics.f1_score(references, predictions))
    score = metrics.entity_f1(*([" ".join(each) for each in side] for side in (predictions, references)))
    assert score.value == pytest.approx(expected)
    assert score.signature == "seqeval|micro"


BIO = st.lists(st.tuples(*[st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"])] * 2), min_size=1, max_size=7)


@settings(deadline=None)
@given(st.lists(BIO, min_size=1, max_size=4))
def test_spans_that_are_written_out_are_seqevals_where_no_word_comes_twice(sentences):
    predictions, references = ([[tags[side] for tags in each] for each in sentences] for side in (0, 1))
    with warnings.catch_warnings():  # of no entity at all
        warnings.simplefilter("ignore")
        expected = float(seqeval.metrics.f1_score(references, predictions))
    for field, metric in ((Entities(), metrics.span_f1), (Roles(), metrics.argument_f1)):
        texts = [
            [field.text([[f"w{number}" for number in range(len(each))], each]) for each in side]
            for side in (predictions, references)
        ]
        assert metric(*texts).value == pytest.approx(expected)


def test_spans_are_counted_as_often_as_they_are_written_and_verbs_are_no_arguments():
    wanted = ["PER: Ada; PER: Ada; LOC: Bad  Tölz", "none"]
    assert metrics.span_f1(["LOC: Bad Tölz;PER:Ada", "nothing"], wanted).value == pytest.approx(0.8)
    said = ["PER: Ada; PER: Ada; PER: Ada; ORG: Bad Tölz", ""]
    assert metrics.span_f1(said, wanted).value == pytest.approx(2 * 2 / (4 + 3))
    wanted = ["[ARG0 The cat] [V sat] [ARGM-LOC there] ."]
    assert metrics.argument_f1(["[ARG0 The cat] [V sits] there ."], wanted).value == pytest.approx(2 / 3)
    assert metrics.argument_f1(["[ARG1 The cat] [V sat ["], wanted).value == 0


def test_a_metric_of_one_class_needs_the_class():
    with pytest.raises(ConfigError, match=r"unknown metric 'f1'.*f1:CLASS"):
        named_metrics(["f1"])


def test_entities_of_other_lengths_and_words_that_are_no_labels_are_told():
    score = metrics.entity_f1(["B-X I-X O O", "word B-Y", ""], ["B-X I-X", "O B-Y O", "S-X"])
    assert score.signature == "seqeval|micro|other-labels:1|other-length:3"
    assert score.value == pytest.approx(2 * 2 / (2 + 3))


@settings(deadline=None)
@given(pairs_of(LINES, st.lists(LINES, min_size=2, max_size=2)), st.sampled_from(["13a", "zh", "char"]))
def test_bleu_and_chrf_are_sacrebleus(pair, tokenize):
    predictions, references = pair
    streams = list(map(list, zip(*references, strict=True)))
    expected = sacrebleu.BLEU(tokenize=tokenize).corpus_score(predictions, streams)
    score = Bleu(tokenize=tokenize)(predictions, references)
    assert score.value == pytest.approx(expected.score, abs=1e-9)
    chrf = sacrebleu.CHRF()
    assert metrics.chrf(predictions, references).value == pytest.approx(
        chrf.corpus_score(predictions, streams).score, abs=1e-9
    )
    assert metrics.chrf(predictions, references).signature == str(chrf.get_signature())


SENTENCES = {
    "zh": ("今天天气很好，我们一起去公园散步。", "今天天气不错，我们一起去公园散步。", "zh"),
    "th": ("วันนี้อากาศดีมากเราไปเดินเล่นในสวน", "วันนี้อากาศดีเราไปเดินเล่นในสวน", "char"),
    "ja": ("今日は天気がいいので公園へ行きます。", "今日は天気がよいので公園へ行きます。", None),
    "ko": ("오늘은 날씨가 정말 좋아서 공원에 갑니다.", "오늘은 날씨가 정말 좋아서 공원에 간다.", None),
    "de": ("Das Wetter war gestern schön, wir gingen.", "Das Wetter war gestern gut, wir gingen.", "13a"),
    "ru": ("Сегодня очень хорошая погода, мы идём.", "Сегодня очень хорошая погода, мы тут.", "13a"),
}


@pytest.mark.parametrize("language", SENTENCES)
def test_no_language_scores_0_for_want_of_spaces(language):
    reference, prediction, tokenizer = SENTENCES[language]
    for metric in (metrics.bleu, Bleu(language=language), Bleu(language=f"{language}_Xxxx")):
        score = metric([prediction], [reference])
        assert 5 < score.value < 100
        assert f"tok:{tokenizer or ''}" in score.signature
    for name in ("rouge1", "rouge_lsum", "token_f1"):
        assert 20 < METRICS[name]([prediction], [reference]).value < 100


def test_a_tokenizer_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match=r"no tokenizer 'words'; it has .*13a"):
        Bleu(tokenize="words")


@settings(deadline=None)
@given(pairs_of(LINES, st.lists(LINES, min_size=1, max_size=2), max_size=4))
def test_rouge_is_rouge_scores(pair):
    predictions, references = pair
    names = {"rouge1": "rouge1", "rouge2": "rouge2", "rouge_l": "rougeL", "rouge_lsum": "rougeLsum"}
    scorer = RougeScorer(list(names.values()))
    expected = [  # which takes lines for sentences
        scorer.score_multi(["\n".join(sentences(each)) for each in r], "\n".join(sentences(p)))
        for p, r in zip(predictions, references, strict=True)
    ]
    for name, theirs in names.items():
        score = METRICS[name](predictions, references)
        if "rouge-score" not in score.signature:
            continue
        mean = 100 * sum(each[theirs].fmeasure for each in expected) / len(expected)
        assert score.value == pytest.approx(mean), name


def test_sentences_are_lines_or_else_what_ends_as_one_does():
    lines = ["He came.", "Did she (too)?", '"No." Then 3.5 more', "的。"]
    assert sentences("\n".join(lines)) == lines
    assert sentences('He came. Did she (too?) "No!" Then 3.5 more . 对。的') == [
        *("He came.", "Did she (too?", '"No!', "Then 3.5 more .", "对。", "的"),
    ]
    assert sentences("") == []
    # Without lines, as SentencePiece leaves them, it is what it is of lines.
    written = ["The cat sat.\nIt slept long.", "It slept long.\nA cat sat there."]
    flat = [text.replace("\n", " ") for text in written]
    assert metrics.rouge_lsum(flat[:1], flat[1:]).value == metrics.rouge_lsum(written[:1], written[1:]).value
    assert metrics.rouge_lsum(flat[:1], flat[1:]).value > metrics.rouge_l(flat[:1], flat[1:]).value


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.integers(1, 20))
def test_calibration_error_is_the_gap_of_scikit_learns_curve(answers, num_bins):
    """Guo et al.'s formula: the mean over the bins of the curve, each weighed by the answers in it."""
    confidences, hits = zip(*answers, strict=True)
    right, sure = calibration_curve(hits, confidences, n_bins=num_bins, pos_label=True)
    edges = np.linspace(0, 1, num_bins + 1)
    counts = np.bincount(np.searchsorted(edges[1:-1], confidences))
    expected = counts[counts > 0] @ np.abs(right - sure) / len(answers)
    score = expected_calibration_error(confidences, hits, num_bins=num_bins)
    assert score.value == pytest.approx(expected, abs=1e-9)
    assert score.signature == f"bins:{num_bins} equal width"


@given(st.integers(2, 4), st.integers(1, 30), st.integers(0, 99))
def test_brier_score_is_scikit_learns(num_classes, count, seed):
    rng = np.random.default_rng(seed)
    probabilities_NC = rng.dirichlet(np.ones(num_classes), count).astype(np.float32)
    labels_N = rng.integers(num_classes, size=count)
    options = {"labels": list(range(num_classes)), "scale_by_half": False}
    rows = probabilities_NC / probabilities_NC.sum(axis=1, keepdims=True)
    expected = sklearn.metrics.brier_score_loss(labels_N, rows, **options)
    assert brier_score(probabilities_NC, labels_N).value == pytest.approx(expected, abs=1e-6)


def test_what_is_no_probability_is_not_calibrated():
    assert calibration(np.array([[np.nan, np.nan]]), np.array([0])) == {}
    assert set(calibration(np.array([[1.0000001, 0.0]]), np.array([0]))) == {
        "expected_calibration_error",
        "brier_score",
    }


def test_calibration_takes_probabilities_alone():
    for confidence in (1.5, -0.1, math.nan):
        with pytest.raises(DataError, match=r"outside 0\.\.1"):
            expected_calibration_error([confidence], [True])
