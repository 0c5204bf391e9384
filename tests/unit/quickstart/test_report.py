"""The report is self-contained and honest, and can be made again from its JSON."""

import dataclasses
import json
import math
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import DataError
from t5lite.pages.figures import png, spread
from t5lite.quickstart import findings, plots
from t5lite.quickstart.report import terminal_table, write_report
from t5lite.quickstart.results import (
    CurvePoint,
    FileEntry,
    HeldoutPoint,
    MetricRow,
    NgramBaselines,
    Pretraining,
    PretrainingSample,
    QuickstartResults,
    Stage,
    TaskResult,
    TaskSample,
    TextCounts,
    load_results,
    save_results,
)

NGRAMS = NgramBaselines(unigram=6.0, bigram=4.0)
CURVE = tuple(CurvePoint(step=step, value=5.0 - step / 100) for step in range(0, 300, 100))
ACCURACY = MetricRow(
    metric="accuracy",
    pretrained=76.5,
    scratch=67.8,
    baseline=22.0,
    baseline_name="majority class",
    num_examples=600,
    pretrained_error=1.7,
    scratch_error=1.9,
)


def pretraining(*losses: float, encoder_use: float = 1.2) -> Pretraining:
    heldout = tuple(
        HeldoutPoint(step=100 * i, loss=loss, text_loss=loss + 0.25, encoder_use=encoder_use)
        for i, loss in enumerate(losses)
    )
    sample = PretrainingSample(inputs="<b> <extra_id_0> & so", target="<extra_id_0> on", output="")
    return Pretraining(train=CURVE, heldout=heldout, ngrams=NGRAMS, samples=(sample,))


def results(**changes) -> QuickstartResults:
    few = tuple(dataclasses.replace(ACCURACY, num_labels=count) for count in (50, 200))
    task = TaskResult(
        name="novels",
        title="Which novel?",
        rows=(ACCURACY, *few),
        steps=300,
        pretrained_curve=CURVE,
        scratch_curve=CURVE,
        samples=(TaskSample(inputs="novel: x", target="Emma", pretrained="Emma", scratch="Persuasion"),),
    )
    whole = QuickstartResults(
        title="A <small> run",
        recipe="quickstart",
        seed=3,
        environment={"jax": "0.10"},
        stages=(Stage(name="pretrain", seconds=125.0),),
        corpus=(TextCounts(name="Austen", train_documents=9000, heldout_documents=700, train_tokens=10**6),),
        vocabulary_size=2148,
        model={"layers": "2"},
        num_params=1_300_000,
        pretraining=pretraining(9.5, 4.5, 3.0),
        tasks=(task,),
        files=(FileEntry(path="report.html", description="this page"),),
    )
    return dataclasses.replace(whole, **changes)


def test_json_round_trip(tmp_path):
    path = tmp_path / "results.json"
    save_results(results(), path)
    assert load_results(path) == results()


def test_damaged_json_is_refused_with_its_path(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(DataError, match=r"cannot read .*results\.json"):
        load_results(path)
    path.write_text("[]")
    with pytest.raises(DataError, match="does not hold"):
        load_results(path)
    save_results(results(), path)
    content = json.loads(path.read_text())
    content["results"]["pretraining"]["ngrams"]["trigram"] = 1.0
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"trigram.*pretraining\.ngrams"):
        load_results(path)
    del content["results"]["pretraining"]["ngrams"]["trigram"]
    content["results"]["pretraining"]["heldout"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="at least one held-out evaluation"):
        load_results(path)


def test_report_is_one_self_contained_page(tmp_path):
    path = write_report(results(), tmp_path)
    page = path.read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|srcset|href)=["'](?!data:)|<script|<link|@import|url\(""", page)
    names = ["scores", "pretraining_loss", "encoder_use", "novels_curves", "novels_accuracy_few_labels"]
    assert {file.stem for file in (tmp_path / "plots").iterdir()} == set(names)
    assert page.count("data:image/png;base64,") == 2 * len(names)
    assert page.count("prefers-color-scheme: dark") == len(names) + 2  # each figure, and both style sheets
    for file in (tmp_path / "plots").iterdir():
        assert file.read_bytes().startswith(b"\x89PNG")
    assert load_results(tmp_path / "results.json") == results()


def test_report_escapes_text_and_marks_sentinels(tmp_path):
    page = write_report(results(), tmp_path).read_text(encoding="utf-8")
    assert "&lt;b&gt; <mark>0</mark> &amp; so" in page
    assert "<h1>A &lt;small&gt; run</h1>" in page
    assert "<small> run" not in page
    assert "<em>(empty)</em>" in page


def test_report_shows_losses_baselines_and_scores(tmp_path):
    page = write_report(results(), tmp_path).read_text(encoding="utf-8")
    for text in ("before", "during", "after", "9.50", "0.75 below the bigram model (4.00)", "2 min 05 s"):
        assert text in page
    assert findings.ENCODER_USE in page
    assert "76.5<small>± 1.7</small>" in page
    assert "+8.7<small>± 2.5</small>" in page
    assert "22.0<small>majority class</small>" in page


def test_report_survives_a_diverged_run_without_tasks(tmp_path):
    broken = pretraining(9.5, math.nan, encoder_use=math.nan)
    page = write_report(results(pretraining=broken, tasks=()), tmp_path).read_text(encoding="utf-8")
    assert "Pretraining diverged: the held-out loss is nan after 100 steps." in page
    assert "No fine-tuning task was run." in page
    assert "Encoder use could not be measured: it is nan." in page
    assert math.isnan(load_results(tmp_path / "results.json").pretraining.heldout[-1].loss)


def test_terminal_table_is_aligned_and_complete():
    text = terminal_table(results())
    lines = text.splitlines()
    row = next(line for line in lines if line.startswith("accuracy "))
    assert re.split(" {2,}", row) == [
        "accuracy",
        "76.5 ± 1.7",
        "67.8 ± 1.9",
        "+8.7 ± 2.5",
        "22.0 (majority class)",
    ]
    for rule in (i for i, line in enumerate(lines) if line.startswith("---")):
        assert len(lines[rule - 1]) == len(lines[rule]) == len(lines[rule + 1])
    assert max(len(line) for line in lines) <= 100
    assert "unigram 6.00, bigram 4.00" in text
    assert text.endswith("Total time 2 min 05 s.")


@pytest.mark.parametrize(
    ("losses", "learned", "ngrams"),
    [
        ((9.0, 3.0), "The held-out loss went from 9.00 to 3.00", "0.75 below the bigram model"),
        ((9.0, 5.0), "perplexity 8,103.1 to 148.4", "not better than counting pairs"),
        ((9.0, 9.5), "The model did not learn", "nothing useful was learned"),
    ],
)
def test_findings_claim_no_more_than_the_losses_show(losses, learned, ngrams):
    assert learned in findings.learned(pretraining(*losses))
    assert ngrams in findings.against_ngrams(pretraining(*losses))


@pytest.mark.parametrize(
    ("value", "text"), [(0.09, "all but ignores"), (0.5, "the decoder reads its encoder")]
)
def test_an_ignored_encoder_is_called_so(value, text):
    assert text in findings.encoder_use(pretraining(9.0, 3.0, encoder_use=value))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "accuracy: pretraining helped, 8.7 points (standard error 2.5) above scratch."),
        ({"scratch": 74.0}, "no clear difference, pretrained ahead by 2.5 points"),
        ({"pretrained": 66.0}, "within two standard errors: pretraining did not help here."),
        ({"pretrained": 50.0}, "pretraining did not help, 17.8 points (standard error 2.5) below scratch."),
        ({"pretrained": 21.0}, "The pretrained model does not beat majority class (22.0)."),
        ({"pretrained_error": None}, "pretraining helped, 8.7 points (error unknown) above scratch."),
        ({"num_labels": 1000}, "accuracy, 1,000 labels: pretraining helped"),
    ],
)
def test_row_findings(changes, text):
    assert text in findings.row_finding(dataclasses.replace(ACCURACY, **changes))


def test_summary_counts_leads_and_clear_leads():
    behind = dataclasses.replace(ACCURACY, pretrained=60.0)
    open_question = dataclasses.replace(ACCURACY, pretrained=68.0)
    tasks = (TaskResult(name="t", title="T", rows=(ACCURACY, behind, open_question)),)
    assert findings.summary(tasks) == (
        "Pretrained is ahead of scratch on 2 of 3 scores, by more than two standard errors on 1 of the 3 "
        "whose error is known."
    )
    assert "did not help on any of 1" in findings.summary((TaskResult(name="t", title="T", rows=(behind,)),))


@pytest.mark.parametrize(
    ("value", "text"), [(1.26, "+1.3"), (-1.26, "\u22121.3"), (-0.01, "0.0"), (0.0, "0.0")]
)
def test_signed_numbers(value, text):
    assert findings.signed(value) == text


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-10, 10), max_size=6), st.floats(0.1, 3))
def test_spread_labels_do_not_touch_and_keep_their_order(positions, gap):
    placed = spread(positions, gap)
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    for lower, upper in pairwise(order):
        assert placed[upper] - placed[lower] >= gap - 1e-9
    assert sum(placed) == pytest.approx(sum(positions), abs=1e-6)


def test_plots_are_reproducible_bytes():
    first, second = (png(plots.encoder_use(pretraining(9.0, 3.0).heldout)) for _ in range(2))
    assert first == second
