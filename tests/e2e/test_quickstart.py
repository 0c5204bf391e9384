"""The quickstart: on a slice of its text in seconds, and the real one with the thresholds that it reaches."""

import dataclasses
import json
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.core.errors import ConfigError, UserError
from t5lite.core.storage.addresses import place
from t5lite.data.stores.pair_store import PairStore
from t5lite.decoding import Beam, DecodingConfig, Greedy
from t5lite.quickstart import stages, starting_over
from t5lite.quickstart.corpus import Corpus, CorpusSplit
from t5lite.quickstart.recipes import EXTRA_IDS, SIX_MINUTES, Recipe
from t5lite.quickstart.results import QuickstartResults, load_results
from t5lite.quickstart.run import run
from t5lite.runner.generation import generate
from tests.e2e.conftest import start

NUM_COMPARED = 100


def _slice_of_the_corpus() -> CorpusSplit:
    whole = SPLIT
    return CorpusSplit(
        *(Corpus(paragraphs=part.paragraphs[:200], verses=part.verses[:200]) for part in whole)
    )


SPLIT = stages.split_corpus()


def _tiny() -> Recipe:
    return dataclasses.replace(
        SIX_MINUTES,
        name="tiny",
        model=dataclasses.replace(
            SIX_MINUTES.model,
            vocab_size=600 + EXTRA_IDS,
            embed_dim=16,
            mlp_dim=32,
            head_dim=8,
            num_encoder_layers=1,
            num_decoder_layers=1,
        ),
        pretraining=dataclasses.replace(SIX_MINUTES.pretraining, steps=12, warmup_steps=2, batch_size=8),
        tasks={
            name: dataclasses.replace(task, steps=6, warmup_steps=1, batch_size=8, heldout_examples=16)
            for name, task in SIX_MINUTES.tasks.items()
        },
        label_counts=(20,),
    )


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "split_corpus", _slice_of_the_corpus)


@pytest.mark.slow
def test_in_a_bucket_every_stage_runs_once_and_the_directory_describes_itself(sliced, gcs, capfd):
    directory = place(f"{gcs}/quickstart")
    first = run(_tiny(), directory, seed=0)
    assert {row.num_labels for task in first.tasks for row in task.rows} == {None, 20}
    assert first.pretraining.heldout[0].step == 0
    assert first.environment["goodput"].endswith("s in steps that count")
    listed = {entry.path.rstrip("/") for entry in first.files}
    assert {path.name for path in directory.iterdir()} == listed
    assert all(name in (directory / "README.txt").read_text() for name in listed)
    assert (directory / "report.html").read_text().count("<img") >= 4
    capfd.readouterr()

    again = run(_tiny(), directory, seed=0)
    assert capfd.readouterr().err.count("(done before)") == len(first.stages)
    assert dataclasses.replace(again, environment=first.environment) == first
    assert load_results(directory / "results.json") == again
    (directory / "report.html").unlink()
    assert main(["report", "--directory", str(directory)]) == 0
    assert str(directory / "report.html") in capfd.readouterr().out

    for stage in ("stores", "export"):  # as if it had been killed there
        (directory / "stages" / f"{stage}.json").unlink()
    with pytest.raises(ConfigError, match="another recipe, seed"):
        run(_tiny(), directory, seed=1)
    run(_tiny(), directory, seed=0)

    mine = (directory / "pretrain" / "notes.txt", directory / "export" / "README.md")
    for path in mine:
        path.write_text("")
    with pytest.raises(UserError, match=r"holds 2 files \(export/README.md, pretrain/notes.txt\) that"):
        starting_over.delete(directory)
    for path in mine:
        path.unlink()
    starting_over.delete(directory)
    assert not directory.exists()


def _thresholds(results: QuickstartResults) -> None:
    """What was reached (docs/quickstart.md), less a margin for other processors' arithmetic."""
    pretraining = results.pretraining
    first, last = pretraining.heldout[0], pretraining.heldout[-1]
    assert first.loss > 7
    assert abs(first.encoder_use) < 0.1
    assert last.loss < 3.4
    assert last.encoder_use > 1.5
    assert last.text_loss < pretraining.ngrams.bigram
    rows = {(task.name, row.metric): row for task in results.tasks for row in task.rows}
    accuracy = rows["classification", "accuracy"]
    assert accuracy.baseline is not None
    assert accuracy.pretrained > accuracy.baseline + 50
    assert accuracy.pretrained > 79
    assert accuracy.pretrained > accuracy.scratch
    chrf, bleu = rows["translation", "chrF"], rows["translation", "BLEU"]
    assert chrf.pretrained > chrf.scratch + 2
    assert bleu.baseline is not None
    assert bleu.pretrained > bleu.baseline + 2


@pytest.mark.slow
def test_the_real_quickstart_reaches_its_thresholds_and_its_export_writes_the_same(tmp_path: Path):
    directory = tmp_path / "quickstart"
    # As users run it, optimised.
    process = start(["quickstart", "--directory", str(directory)], XLA_FLAGS="")
    output, errors = process.communicate(timeout=2400)
    assert process.returncode == 0, errors
    assert str(directory / "report.html") in output
    _thresholds(load_results(directory / "results.json"))
    assert main(["report", "--directory", str(directory)]) == 0
    _compare_with_transformers(directory)


def _compare_with_transformers(directory: Path) -> None:
    """What transformers writes for held-out inputs by the exported model is what is written here."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    finished = directory / "finetune" / "translation-pretrained"
    pairs = PairStore.open(directory / "data" / "translation" / "heldout")
    vocabulary = pairs.vocabulary()
    inputs = [vocabulary.decode(pairs.inputs.document(i)) for i in range(NUM_COMPARED)]
    settings = json.loads((finished / "config.json").read_text())["data"]
    tokenizer = AutoTokenizer.from_pretrained(directory / "export")
    model = AutoModelForSeq2SeqLM.from_pretrained(directory / "export").eval()
    batch = tokenizer(
        inputs, return_tensors="pt", padding=True, truncation=True, max_length=settings["inputs_length"]
    )
    for strategy, num_beams in ((Greedy(), 1), (Beam(num_beams=4), 4)):
        ours = generate(
            finished,
            inputs,
            encoder_length=settings["inputs_length"],
            max_decode_length=settings["targets_length"],
            batch_size=NUM_COMPARED,
            decoding=DecodingConfig(strategy=strategy),
        )
        with torch.no_grad():
            outputs = model.generate(
                **batch, do_sample=False, num_beams=num_beams, max_new_tokens=settings["targets_length"]
            )
        theirs = tokenizer.batch_decode(outputs, skip_special_tokens=True)
        assert theirs == ours
        assert len(set(ours)) > NUM_COMPARED // 2
