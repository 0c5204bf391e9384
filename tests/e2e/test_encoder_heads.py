"""From a pretrained BERT to each head that labels what it reads: trained, measured, exported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from seqeval.metrics import f1_score

from t5lite.cli.main import main
from t5lite.quickstart import corpus
from t5lite.training.metrics_log import METRICS_FILE, read_metrics
from tests.e2e.conftest import HERE


def fine_tuned(recipe: str, data: Path, source: Path, run: Path, *options: str, best: str) -> Path:
    """Return a run that goes by a metric of its predictions."""
    given = [
        *("train", "--config", str(HERE / recipe), "--run-dir", str(run)),
        *("--data.store", str(data / "train"), "--evaluations.heldout.store", str(data / "heldout")),
        *("--initialize-from.run", str(source)),
        *("--checkpoints.best-metric", best, "--checkpoints.keep-best", "1"),
        *("--training.early-stopping-patience", "2"),
        *options,
    ]
    assert main(given) == 0
    return run


def measured(run: Path, predictions: Path, *options: str) -> tuple[dict[str, float], list[dict]]:
    assert main(["evaluate", "--run", str(run), "--predictions", str(predictions), *options]) == 0
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    return json.loads((run / "evaluation.json").read_text())["metrics"], lines


def in_training(run: Path, name: str = "heldout") -> dict[str, float]:
    """Return what the last evaluation of that name found in the training."""
    entries = [entry for entry in read_metrics(run / METRICS_FILE) if entry["kind"] == "eval"]
    return [entry for entry in entries if entry["evaluation"] == name][-1]


def prepared(rows: list[dict], task: str, directory: Path, text_data: Path) -> Path:
    source, output = directory / "rows.jsonl", directory / "prepared"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = ["--inputs", str(source), "--output", str(output), "--heldout-fraction", "0.2"]
    vocabulary = ["--vocabulary", str(text_data / "vocabulary" / "spiece.model")]
    assert main(["prepare", "task", "--task", task, *given, *vocabulary]) == 0
    return output


@pytest.fixture(scope="module")
def numbered(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beginnings of verses, above zero in English and below in Spanish: digits that the vocabulary lacks."""
    texts = [(text, sign) for v in corpus.verses()[:200] for text, sign in ((v.english, 1), (v.spanish, -1))]
    rows = [{"text": " ".join(text.split()[:6]), "label": sign * 0.75} for text, sign in texts]
    return prepared(rows, "regression", tmp_path_factory.mktemp("numbered"), text_data)


@pytest.mark.slow
def test_a_number_is_predicted_measured_and_exported(bert: Path, numbered: Path, tmp_path: Path, capsys):
    run = fine_tuned("tiny_regressor_recipe.py", numbered, bert, tmp_path / "run", best="spearman")
    metrics, lines = measured(run, tmp_path / "predictions.jsonl")
    assert {"loss", "pearson", "spearman"} <= metrics.keys()
    assert {name: in_training(run)[name] for name in metrics} == pytest.approx(metrics, rel=1e-5)
    assert not {"perplexity", "accuracy"} & metrics.keys()
    assert metrics["pearson"] > 0.5
    found, wanted = (np.array([float(each[key]) for each in lines]) for key in ("prediction", "reference"))
    assert metrics["loss"] == pytest.approx(np.mean((found - wanted) ** 2), rel=1e-4)
    assert metrics["pearson"] == pytest.approx(np.corrcoef(found, wanted)[0, 1], rel=1e-5)

    folder, again = tmp_path / "hf", tmp_path / "again"
    assert main(["export", "--run", str(run), "--output", str(folder)]) == 0
    assert json.loads((folder / "config.json").read_text())["problem_type"] == "regression"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    whole = [place for place, each in enumerate(lines) if not each["input_cut"] and "⁇" not in each["input"]]
    for place in whole[:8]:
        given = tokenizer(lines[place]["input"], return_tensors="pt")
        with torch.no_grad():
            logits = model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).logits
        assert logits.item() == pytest.approx(found[place], abs=1e-4)
    assert main(["import", "--from", str(folder), "--output", str(again)]) == 0
    store = ["--store", str(numbered / "heldout"), "--max-examples", "64", "--inputs-length", "32"]
    assert measured(again, tmp_path / "again.jsonl", *store)[0] == pytest.approx(metrics, rel=1e-4)
    assert "imported, without a recipe: measured by texts with numbers" in capsys.readouterr().out


@pytest.fixture(scope="module")
def tagged(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words of verses in both languages, and which of them are Spanish, as entities of CoNLL's kind."""
    rows = []
    for v in corpus.verses()[:200]:
        sides = [(v.english.split()[:4], "O"), (v.spanish.split()[:4], "B-LOC")]
        words = [word for side, _ in sides for word in side]
        rows.append({"tokens": words, "ner_tags": [tag for side, tag in sides for _ in side]})
    return prepared(rows, "ner-tags", tmp_path_factory.mktemp("tagged"), text_data)


@pytest.mark.slow
def test_words_are_tagged_measured_and_exported(bert: Path, tagged: Path, tmp_path: Path, capsys):
    run = fine_tuned("tiny_tagger_recipe.py", tagged, bert, tmp_path / "run", best="entity_f1")
    metrics, lines = measured(run, tmp_path / "predictions.jsonl")
    assert {name: in_training(run)[name] for name in metrics} == pytest.approx(metrics, rel=1e-5)
    assert metrics["entity_f1"] > 0.5
    references, found = ([each[key].split() for each in lines] for key in ("reference", "prediction"))
    assert metrics["entity_f1"] == pytest.approx(f1_score(references, found), rel=1e-6)

    folder, again = tmp_path / "hf", tmp_path / "again"
    assert main(["export", "--run", str(run), "--output", str(folder)]) == 0
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder)
    assert model.config.id2label == {0: "B-LOC", 1: "O"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for each in [each for each in lines if not each["input_cut"]][:8]:
        given = tokenizer(each["input"].split(), is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).logits[0]
        words = given.word_ids()
        first = [words.index(word) for word in range(len(each["input"].split()))]
        named = [model.config.id2label[label] for label in logits[first].argmax(-1).tolist()]
        assert named == each["prediction"].split()
    assert main(["import", "--from", str(folder), "--output", str(again)]) == 0
    store = ["--store", str(tagged / "heldout"), "--max-examples", "64", "--inputs-length", "32"]
    assert measured(again, tmp_path / "again.jsonl", *store)[0] == pytest.approx(metrics, rel=1e-4)


@pytest.fixture(scope="module")
def asked(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Which words of a verse are Spanish: between or behind English ones, or nowhere."""
    rows = []
    for number, v in enumerate(corpus.verses()[:240]):
        english, spanish = (" ".join(text.split()[:3]) for text in (v.english, v.spanish))
        before, answer = f"{english} ", "" if number % 16 == 0 else spanish
        context = f"{before}{answer} {english if number % 2 else ''}"
        answers = (
            {"text": [answer], "answer_start": [len(before)]} if answer else {"text": [], "answer_start": []}
        )
        rows.append({"question": "¿?", "context": context, "answers": answers})
    return prepared(rows, "answer-spans", tmp_path_factory.mktemp("asked"), text_data)


@pytest.mark.slow
def test_an_answer_is_pointed_at_measured_and_exported(bert: Path, asked: Path, tmp_path: Path, capsys):
    run = fine_tuned("tiny_spans_recipe.py", asked, bert, tmp_path / "run", best="exact_match")
    metrics, lines = measured(run, tmp_path / "predictions.jsonl")
    assert metrics["exact_match"] > 20
    assert {"loss", "position_accuracy", "exact_match"} <= metrics.keys()
    contexts = [each["input"].split("\n", 1)[1] for each in lines]
    assert all(each["prediction"] in context for each, context in zip(lines, contexts, strict=True))
    assert {"", *(each["reference"] for each in lines)} == {each["reference"] for each in lines}

    folder, again = tmp_path / "hf", tmp_path / "again"
    assert main(["export", "--run", str(run), "--output", str(folder)]) == 0
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    compared = 0
    for each, context in zip(lines, contexts, strict=True):
        given = tokenizer("¿?", context, return_tensors="pt", return_offsets_mapping=True)
        offsets, types = given.pop("offset_mapping")[0].tolist(), given["token_type_ids"][0].bool()
        if len(offsets) > 32:  # several windows
            continue
        with torch.no_grad():
            output = model(**given)
        sums = output.start_logits[0, :, None] + output.end_logits[0, None, :]
        inside = types & (given["input_ids"][0] != tokenizer.sep_token_id)
        spans = torch.where((inside[:, None] & inside).triu(), sums, -torch.inf)
        first, last = divmod(int(spans.argmax()), len(offsets))
        text = context[offsets[first][0] : offsets[last][1]].strip()
        assert each["prediction"] == (text if spans.max() >= sums[0, 0] else "")
        compared += 1
    assert compared > 8
    assert main(["import", "--from", str(folder), "--output", str(again)]) == 0
    store = ["--store", str(asked / "heldout"), "--max-examples", "64", "--inputs-length", "32"]
    assert measured(again, tmp_path / "again.jsonl", *store)[0] == pytest.approx(metrics, rel=1e-4)
    assert "measured by questions with answers in a context" in capsys.readouterr().out
