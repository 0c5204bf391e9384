"""``t5lite evaluate`` of a file of texts (pairs, masked words, probes): a record, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.quickstart import corpus
from tests.e2e.conftest import Refused

PAIRS = [
    ("She was very happy.", "She were very happy.", "morphology"),
    ("Él dijo nada.", "Él dijo nada.", "syntax"),
    ("Who did you see?", "Who you did see?", "syntax"),
]

MORPHOLOGY, SYNTAX = (
    (f"field: {field}", f"linguistics_term: of {field}", f"UID: {field}_1")
    for field in ("morphology", "syntax")
)


@pytest.mark.slow
def test_pairs_are_counted_with_ties_and_by_field(imported: Path, tmp_path: Path, capsys):
    rows = [
        {
            **{"sentence_good": good, "sentence_bad": bad, "field": field, "linguistics_term": f"of {field}"},
            **{"UID": f"{field}_1", "simple_LM_method": True, "one_prefix_method": False, "pairID": "0"},
        }
        for good, bad, field in PAIRS
    ]
    folder, predictions = tmp_path / "blimp", tmp_path / "predictions.jsonl"
    folder.mkdir()
    for name, some in (("morphology_1", [rows[0], {**rows[0], "sentence_good": ""}]), ("syntax_1", rows[1:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (folder / "README.md").write_text("BLiMP")
    options = ["--minimal-pairs", str(folder), "--predictions", str(predictions)]
    assert main(["evaluate", "--run", str(imported), *options]) == 0
    said = capsys.readouterr().out
    assert "1 of 3 pairs are ties and count as misses; of 1 both sentences are the same tokens" in said
    assert "is empty: 1 (first: " in said
    assert (
        f"inputs left out, without text, of another type, or met before: 1 ({folder / 'README.md'})" in said
    )
    record = json.loads((imported / "evaluation.json").read_text())
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    hits = [line["log_likelihoods"][0] > line["log_likelihoods"][1] for line in lines]
    assert [line["prediction"] == line["reference"] for line in lines] == hits
    assert lines[1]["prediction"] == ""
    assert record["metrics"] == {
        "accuracy": pytest.approx(sum(hits) / 3),
        **dict.fromkeys(MORPHOLOGY, float(hits[0])),
        **dict.fromkeys(SYNTAX, pytest.approx((hits[1] + hits[2]) / 2)),
    }
    assert record["intervals"]["accuracy"]["low"] <= record["metrics"]["accuracy"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", [], r"pairs\.jsonl"),
        ('{"good": "a", "bad": "b"}\n', [], "sentence_good"),
        ('{"sentence_good": 1, "sentence_bad": "b"}\n', [], "sentence_good is 1, no text"),
        ('{"sentence_good": "a", "sentence_bad": "b"}\n', ["--store", "x"], "give one of them"),
        ('{"sentence_good": "a", "sentence_bad": "b"}\n', ["--robustness"], "--robustness is given, too"),
    ],
)
def test_what_are_no_pairs_is_refused(
    content, options, message, refused: Refused, pretrained: Path, tmp_path
):
    (tmp_path / "pairs.jsonl").write_text(content)
    refused(
        ["evaluate", "--run", pretrained, "--minimal-pairs", tmp_path / "pairs.jsonl", *options],
        message,
        progress=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "pretrained"])
def test_words_are_ranked_and_chosen_and_what_has_no_rank_is_said(name, request, tmp_path: Path, capsys):
    """By a masked LM and by an encoder-decoder; CRLF and a BOM are no part of a text."""
    run = tmp_path / "run"
    shutil.copytree(request.getfixturevalue(name), run)
    rows = [
        {"text": "She was [MASK] happy.", "answer": "very"},
        {"text": "She was [MASK] happy.", "answer": "very", "candidates": ["very", "extraordinarily", "☃"]},
        {"text": "It was an [MASK]likely story, Emma.", "answer": "extraordinarily"},
        {"text": "The [MASK] is here.", "answer": "☃"},
    ]
    file, predictions = tmp_path / "words.jsonl", tmp_path / "predictions.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in (*rows, {**rows[0], "answer": ""})]
    file.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    options = ["--masked-words", str(file), "--predictions", str(predictions)]
    assert main(["evaluate", "--run", str(run), *options]) == 0
    said = capsys.readouterr().out
    assert "1 answers are several tokens and 1 are unknown" in said
    assert "ranks are of the 2 of 4 that are one token" in said
    assert "candidates: 3 in 1 of 4 examples" in said
    assert "1 candidates are unknown to the vocabulary" in said
    assert "is empty: 1 (first: " in said
    record = json.loads((run / "evaluation.json").read_text())
    told = [json.loads(line) for line in predictions.read_text().splitlines()]
    assert [each["rank"] is None for each in told] == [False, False, True, True]
    ranks = [each["rank"] for each in told[:2]]
    assert ranks[0] == ranks[1] >= 1
    assert len(told[0]["best"]) == 10
    chosen = told[1]["candidates"]
    assert chosen["☃"] is None
    is_right = chosen["very"] > chosen["extraordinarily"]
    metrics = record["metrics"]
    assert metrics["mean_reciprocal_rank"] == pytest.approx(1 / ranks[0])
    assert metrics["accuracy_at_10"] == float(ranks[0] <= 10)
    assert metrics["candidate_accuracy"] == float(is_right) == float(told[1]["prediction"] == "very")
    assert metrics["chance"] == pytest.approx(1 / 3)
    assert set(record["intervals"]) == set(metrics) - {"candidate_accuracy", "chance"}  # which is of one


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "words"),
        ({"text": "a cat", "answer": "cat"}, r"words\.jsonl:1.*text has no \[MASK\], and one is asked for"),
        ({"text": "a <mask>", "answer": "cat"}, "<mask> is another tokenizer's name of it"),
        ({"text": "[MASK] [MASK]", "answer": "cat"}, r"text has 2 \[MASK\]"),
        ({"text": "a [MASK]", "answer": " cat"}, "answer has ' cat', no word"),
        ({"text": "a [MASK]", "answer": 1}, "answer has 1, no word"),
        ({"text": "a [MASK]", "answer": "cat", "candidates": ["dog", "cow"]}, "lacks the answer 'cat'"),
        ({"text": "a [MASK]", "answer": "cat", "candidates": ["cat", "cat"]}, "a word twice"),
        ({"text": "a [MASK]", "answer": "cat", "candidates": ["cat"]}, "the answer alone"),
        ({"text": "a [MASK]", "answer": "cat", "candidates": "cat dog"}, "no list"),
        ({"text": "a [MASK]", "answer": "uninhabitableness"}, "no answer is one token of this vocabulary"),
    ],
)
def test_what_are_no_masked_words_is_refused(row, message, refused: Refused, pretrained: Path, tmp_path):
    (tmp_path / "words.jsonl").write_text(json.dumps(row) + "\n" if row else "")
    words = ["evaluate", "--run", pretrained, "--masked-words", tmp_path / "words.jsonl"]
    refused(words, message, progress=True)


@pytest.mark.slow
def test_every_layer_is_probed_beside_a_control(imported: Path, tmp_path: Path, capsys):
    verses = corpus.verses()[:60]
    rows = [f"{text}\t{label}" for v in verses for text, label in ((v.english, "1"), (v.spanish, "two"))]
    (tmp_path / "rows.tsv").write_text("\n".join(["text\tlabel", *rows]), encoding="utf-8")
    assert main(["evaluate", "--run", str(imported), "--probe", str(tmp_path / "rows.tsv")]) == 0
    record = json.loads((imported / "evaluation.json").read_text())
    metrics, layers = record["metrics"], [name for name in record["metrics"] if name.startswith("layer")]
    assert metrics["accuracy"] == metrics[layers[-2]] > metrics["majority_accuracy"]
    assert metrics["accuracy"] > metrics[layers[-1]]
    assert set(record["intervals"]) == set(metrics)
    (file,) = (imported / "evaluations").glob("*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    hits = [line["prediction"] == line["reference"] for line in lines]
    assert sum(hits) / len(hits) == pytest.approx(metrics["accuracy"])
    assert len(lines) == record["num_examples"] < 60


@pytest.mark.slow
def test_a_model_that_writes_labels_is_calibrated_by_their_shares(
    imported: Path, text_data: Path, tmp_path: Path
):
    verses = corpus.verses()[:30]
    rows = [line for v in verses for line in (f"{v.english}\tEnglish", f"{v.spanish}\tSpanish")]
    (tmp_path / "verses.tsv").write_text("\n".join(rows), encoding="utf-8")
    files = ["--inputs", str(tmp_path / "verses.tsv"), "--output", str(tmp_path / "prepared")]
    fields = ["--inputs-field", "0", "--targets-field", "1", "--heldout-fraction", "0.4"]
    vocabulary = ["--vocabulary", str(text_data / "vocabulary" / "spiece.model")]
    assert main(["prepare", "pairs", *files, *fields, *vocabulary]) == 0
    options = ["--store", str(tmp_path / "prepared" / "heldout"), "--task", "classification"]
    assert main(["evaluate", "--run", str(imported), *options, "--max-examples", "9"]) == 0
    record = json.loads((imported / "evaluation.json").read_text())
    (file,) = (imported / "evaluations").glob("*.jsonl")
    squares = []
    for line in map(json.loads, file.read_text().splitlines()):
        assert set(line["probabilities"]) == {"English", "Spanish"}
        assert sum(line["probabilities"].values()) == pytest.approx(1)
        squares.append(2 * (1 - line["probabilities"][line["reference"]]) ** 2)
    assert record["metrics"]["brier_score"] == pytest.approx(sum(squares) / 9)
    assert "expected_calibration_error" in record["intervals"]


def test_one_label_is_nothing_to_probe(refused: Refused, pretrained: Path, tmp_path: Path):
    (tmp_path / "rows.tsv").write_text("text\tlabel\n" + "a cat\tcat\n" * 20)
    refused(["evaluate", "--run", pretrained, "--probe", tmp_path / "rows.tsv"], "with the labels 'cat', and")
