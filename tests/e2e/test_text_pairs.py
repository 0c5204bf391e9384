"""From a pretrained BERT to vectors of texts that find each other: trained, measured, embedded, exported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from t5lite.cli.main import main
from t5lite.data.vocabulary import open_vocabulary
from t5lite.evaluation.metrics.retrieval import retrieval
from t5lite.quickstart import corpus
from t5lite.runner.embedding import embed
from tests.e2e.conftest import Refused, write
from tests.e2e.test_encoder_heads import fine_tuned, in_training, measured, prepared

SCORES = {"positive": 5, "negative": 0.5}
METRICS = ["recall_at_1", "recall_at_10", "mrr", "ndcg_at_10"]


@pytest.fixture(scope="module")
def triplets(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beginnings of verses, the same from the third word on, and another verse's beginning."""
    vocabulary = open_vocabulary(text_data / "vocabulary" / "spiece.model")
    texts = dict.fromkeys(" ".join(verse.english.split()[:9]) for verse in corpus.verses()[:400])
    known = [text for text in texts if vocabulary.unk_id not in vocabulary.encode(text)][:200]
    rows = [
        {"anchor": text, "positive": text.split(" ", 2)[2], "negative": known[number - 1]}
        for number, text in enumerate(known)
    ]
    return prepared(rows, "triplets", tmp_path_factory.mktemp("triplets"), text_data)


@pytest.fixture(scope="module")
def scored(triplets: Path, text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 40 anchors with their positives (5) and their negatives (0.5), and one that nobody scored."""
    rows = [json.loads(line) for line in (triplets.parent / "rows.jsonl").read_text().splitlines()[:40]]
    sides = [(row["anchor"], row[side], score) for row in rows for side, score in SCORES.items()]
    directory = tmp_path_factory.mktemp("scored")
    cells = ["sentence1\tsentence2\tscore", "a\tb\tNaN", *("\t".join(map(str, side)) for side in sides)]
    write(directory / "sts.tsv", "\n".join(cells))
    given = ["--inputs", str(directory / "sts.tsv"), "--output", str(directory / "out")]
    vocabulary = ["--vocabulary", str(text_data / "vocabulary" / "spiece.model")]
    options = ["--heldout-fraction", "0", *vocabulary]
    assert main(["prepare", "task", "--task", "sts", *given, *options]) == 0
    report = json.loads((directory / "out" / "prepare.json").read_text())
    assert report["inputs"]["lost"]["no_label"]["records"] == 1
    return directory / "out" / "train"


@pytest.mark.slow
def test_texts_find_each_other_and_do_so_as_an_export(
    bert: Path, triplets: Path, scored: Path, tmp_path: Path, capsys
):
    sts = ["--evaluations.sts.store", str(scored)]
    run = fine_tuned("tiny_embedder_recipe.py", triplets, bert, tmp_path / "run", *sts, best="heldout/mrr")
    assert main(["evaluate", "--run", str(run), "--evaluations", "sts"]) == 0
    assert "80 scored pairs" in capsys.readouterr().out
    correlated = json.loads((run / "evaluation.json").read_text())["metrics"]
    assert {name: in_training(run, "sts")[name] for name in correlated} == pytest.approx(correlated, rel=1e-4)
    assert correlated.keys() == {"spearman", "spearman_error", "pearson", "pearson_error"}
    assert correlated["spearman"] > 0.3

    metrics, lines = measured(run, tmp_path / "predictions.jsonl", "--evaluations", "heldout")
    assert {name: in_training(run)[name] for name in metrics} == pytest.approx(metrics, rel=1e-4)
    assert {"loss", "batch_accuracy", *METRICS} <= metrics.keys()
    assert "perplexity" not in metrics
    anchors, positives = ([line[side] for line in lines] for side in ("input", "reference"))
    said = capsys.readouterr().out
    assert f"{len(set(anchors))} anchors find their positives among {len(set(positives))}" in said

    vectors_ND = embed(run, [*anchors, *positives])
    right = [np.array([number]) for number in range(len(lines))]
    found = retrieval(vectors_ND[: len(lines)], vectors_ND[len(lines) :], right)
    for name in METRICS:
        assert metrics[name] == pytest.approx(np.mean(getattr(found, name)), abs=0.02)
    assert metrics["mrr"] > 0.3
    assert [line["prediction"] for line in lines][:4] == [positives[best] for best in found.best_Q[:4]]

    folder = tmp_path / "hf"
    assert main(["export", "--run", str(run), "--output", str(folder)]) == 0
    assert json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"] == 16
    (pooling,) = (each for each in json.loads((folder / "modules.json").read_text()) if each["idx"] == 1)
    assert json.loads((folder / pooling["path"] / "config.json").read_text()) == {
        "word_embedding_dimension": vectors_ND.shape[1],
        "pooling_mode_mean_tokens": True,
        "pooling_mode_cls_token": False,
        "pooling_mode_lasttoken": False,
    }
    model = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer(anchors[:4], return_tensors="pt", padding=True, truncation=True, max_length=16)
    with torch.no_grad():
        hidden_BLD = model(given["input_ids"], attention_mask=given["attention_mask"]).last_hidden_state
    mask_BL1 = given["attention_mask"][:, :, None]
    mean_BD = (hidden_BLD * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1)
    expected_BD = torch.nn.functional.normalize(mean_BD, dim=1).numpy()
    np.testing.assert_allclose(vectors_ND[:4], expected_BD, atol=2e-5)


def test_pairs_of_a_store_without_negatives_are_refused_early(
    pretrained: Path, refused: Refused, tmp_path: Path
):
    write(tmp_path / "pair.jsonl", json.dumps({"anchor": "a", "positive": "b"}) + "\n")
    prepare = ["prepare", "task", "--task", "triplets", "--inputs", "pair.jsonl", "--output", "out"]
    vocabulary = ["--vocabulary", pretrained / "spiece.model"]
    refused([*prepare, *vocabulary], "has no field 'negative'; it has 'anchor', 'positive'", progress=True)
