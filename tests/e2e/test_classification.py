"""From a pretrained BERT to a classifier of texts, by command."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from t5lite import run_config
from t5lite.checkpointing.reading import leaf_names
from t5lite.cli.main import main
from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.quickstart import corpus
from t5lite.runner.earlier_run import EarlierRun
from t5lite.runner.inheritance import read_source
from t5lite.runner.initialization import find_source, restore_source
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.run_plan import RunPlan
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.training_data import open_training_pipeline
from t5lite.training.metrics_log import read_metrics

HERE = Path(__file__).parent
NEW = ["classifier.dense.bias", "classifier.dense.kernel", "pooler.dense.bias", "pooler.dense.kernel"]
LEFT = ["bias", "dense.bias", "dense.kernel", "norm.bias", "norm.scale"]


@pytest.fixture(scope="module")
def labelled(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Verses and the language they are in."""
    directory = tmp_path_factory.mktemp("labelled")
    verses = corpus.verses()[:200]
    lines = [line for v in verses for line in (f"{v.english}\tEnglish", f"{v.spanish}\tSpanish")]
    (directory / "verses.tsv").write_text("\n".join(lines), encoding="utf-8")
    vocabulary = str(text_data / "vocabulary" / "spiece.model")
    return prepare(directory / "verses.tsv", directory / "prepared", vocabulary)


def prepare(source: Path, output: Path, vocabulary: str) -> Path:
    fields = ["--inputs-field", "0", "--targets-field", "1", "--heldout-fraction", "0.2"]
    options = ["--inputs", str(source), "--output", str(output), "--vocabulary", vocabulary]
    assert main(["prepare", "pairs", *options, *fields]) == 0
    return output


def arguments(labelled: Path, source: Path, run: Path) -> list[str]:
    return [
        *("train", "--config", str(HERE / "tiny_classifier_recipe.py")),
        *("--data.store", str(labelled / "train"), "--evaluations.heldout.store", str(labelled / "heldout")),
        *("--initialize-from.run", str(source), "--run-dir", str(run)),
    ]


@pytest.fixture(scope="module")
def classifier(labelled: Path, bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("classifier") / "run"
    assert main(arguments(labelled, bert, run)) == 0
    return run


def named(params: Tree) -> dict[str, np.ndarray]:
    return dict(zip(leaf_names(params), map(np.asarray, jax.tree.leaves(params)), strict=True))


@pytest.mark.slow
def test_it_learns_from_the_labels(classifier: Path):
    entries = [entry for entry in read_metrics(classifier / "metrics.jsonl") if entry["kind"] == "train"]
    assert entries[-1]["loss"] < 0.7 * entries[0]["loss"]
    heldout = [e for e in read_metrics(classifier / "metrics.jsonl") if e["kind"] == "eval"]
    assert heldout[-1]["accuracy"] > 0.8


def test_the_report_lists_what_was_taken_made_anew_and_left(classifier: Path, bert: Path):
    source = RunDirectory.at(bert)
    partitioner = make_partitioner(PartitioningConfig(style="data_parallel"))
    before = named(load_trained(Snapshot(source), partitioner).params)
    taken = [name for name in before if not name.startswith("masked_lm.")]
    lines = RunDirectory.at(classifier).initialized_from_file.read_text().splitlines()
    titles = [i for i, line in enumerate(lines) if not line.startswith("  ")]
    sections = [
        [line.split()[0] for line in lines[start + 1 : stop]]
        for start, stop in zip(titles, [*titles[1:], None], strict=True)
    ]
    assert sections == [taken, NEW, [f"masked_lm.{name}" for name in LEFT]]
    assert "of step 4 from" in lines[0]

    config = RunDirectory.at(classifier).read_config()
    model = build(config.model)
    assert config.initialize_from is not None
    found = find_source(config.initialize_from)
    params, report = restore_source(found, model, partitioner, seed=config.seed)
    assert str(report).splitlines() == lines
    scratch = named(model.init(jax.random.key(config.seed)))
    for name, leaf in named(params).items():
        # Compiled for some of the leaves, the initialiser rounds as it likes.
        np.testing.assert_allclose(leaf, scratch[name] if name in NEW else before[name], rtol=1e-6)


def test_evaluate_reports_accuracy_beside_the_majority_class(classifier: Path, capsys):
    assert main(["evaluate", "--run", str(classifier), "--robustness"]) == 0
    metrics = json.loads((classifier / "evaluation.json").read_text())["metrics"]
    predicted = {"macro_f1", "matthews", "expected_calibration_error", "brier_score"}
    of_the_loss = {"loss", "accuracy", "perplexity", "accuracy_error", "majority_accuracy"}
    assert set(metrics) == of_the_loss | predicted
    in_training = [each for each in read_metrics(classifier / "metrics.jsonl") if each["kind"] == "eval"][-1]
    for name in ("loss", "accuracy", "macro_f1", "matthews"):
        assert in_training[name] == pytest.approx(metrics[name], rel=1e-5)
    record, lines = (
        json.loads(path.read_text()) if path.suffix == ".json" else path.read_text().splitlines()
        for path in sorted((classifier / "evaluations").iterdir())
    )
    assert set(record["intervals"]) == {*predicted, "loss", "accuracy", "perplexity"}
    made = [json.loads(line) for line in lines]
    assert len({each["example"] for each in made}) == len(made) == record["num_examples"]
    right = [max(each["probabilities"], key=each["probabilities"].get) == each["reference"] for each in made]
    assert sum(right) / len(made) == pytest.approx(metrics["accuracy"])
    robustness = record["robustness"]
    assert robustness["upper case"]["num_changed"] == len(made)
    for found in robustness.values():
        for metric, change in found["changes"].items():
            assert change["interval"]["low"] <= change["value"] <= change["interval"]["high"]
            assert -2 <= change["value"] <= 1
            assert metric in metrics
    assert set(robustness) == {"typos", "lower case", "upper case"}
    assert all(sum(each["probabilities"].values()) == pytest.approx(1) for each in made)
    assert 0.5 <= metrics["majority_accuracy"] < metrics["accuracy"]
    assert "majority_accuracy" in capsys.readouterr().out


def test_generate_names_the_class(classifier: Path, capsys):
    verse = corpus.verses()[300]
    given = ["--text", verse.english, verse.spanish, "", "--encoder-length", "32"]
    assert main(["generate", "--run", str(classifier), *given]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, second) == ("English", "Spanish")
    assert third in ("English", "Spanish")
    assert main(["generate", "--run", str(classifier), "--text", "a " * 60, "--encoder-length", "60"]) == 2
    assert "the model has 48; use a smaller encoder_length" in capsys.readouterr().err


def test_without_its_classes_a_classifier_is_of_no_use(classifier: Path, tmp_path: Path, capsys):
    run = Path(shutil.copytree(classifier, tmp_path / "run"))
    (run / "classes.json").unlink()
    assert main(["generate", "--run", str(run), "--text", "And God said"]) == 2
    assert "nothing says what its 2 outputs mean" in capsys.readouterr().err
    assert main(["evaluate", "--run", str(run)]) == 2
    assert "has no classes.json" in capsys.readouterr().err


@pytest.mark.slow
def test_a_resumed_run_keeps_the_numbers_of_its_classes(classifier: Path, labelled: Path, tmp_path, capsys):
    """Another store may lack a class, or have one more: the first is fine, the second refused."""
    run = Path(shutil.copytree(classifier, tmp_path / "run"))
    vocabulary = str(labelled / "vocabulary" / "spiece.model")
    verses = corpus.verses()[:60]
    lines = {
        "one": [f"{v.spanish}\tSpanish" for v in verses],
        "three": [f"{v.english}\t{'English' if v.english.startswith('A') else 'And'}" for v in verses],
    }
    for name, kept in lines.items():
        (tmp_path / f"{name}.tsv").write_text("\n".join(kept), encoding="utf-8")
        prepare(tmp_path / f"{name}.tsv", tmp_path / name, vocabulary)
    on = [*arguments(labelled, tmp_path / "gone", run), "--training.total-steps", "62", "--data.store"]
    assert main([*on, str(tmp_path / "three" / "train")]) == 2
    assert "such as 'And'; the classes are 'English', 'Spanish'" in capsys.readouterr().err
    only_spanish = str(tmp_path / "one" / "heldout")
    leave = ["--allow-change", "data.store"]
    assert (
        main([*on, str(tmp_path / "one" / "train"), "--evaluations.heldout.store", only_spanish, *leave]) == 0
    )
    said = (
        r"note: all (\d+) held-out examples are 'Spanish': their accuracy says nothing of the other classes"
    )
    assert len(re.findall(said, capsys.readouterr().err)) == 1
    assert main(["evaluate", "--run", str(run)]) == 0
    assert len(re.findall(said, capsys.readouterr().out)) == 1
    classes = RunDirectory.at(run).read_classes()
    assert classes is not None
    assert classes.texts == ("English", "Spanish")


@pytest.mark.slow
def test_an_imported_model_may_change_its_head_too(bert: Path, labelled: Path, tmp_path: Path, capfd):
    folder, run = tmp_path / "hf", tmp_path / "imported"
    assert main(["export", "--run", str(bert), "--output", str(folder)]) == 0
    assert main(["import", "--from", str(folder), "--output", str(run)]) == 0
    capfd.readouterr()
    tuned = tmp_path / "tuned"
    options = ["--training.total-steps", "1", "--trainable", "pooler"]
    assert main([*arguments(labelled, run, tuned), *options]) == 0
    said = capfd.readouterr().err
    size = "encoder_only, 2 layers, 32 wide; head sequence_classification with 2 classes, dropout 0"
    assert said.count(f"the model of {run}: {size}\n") == 1
    assert f"made 4 anew ({', '.join(NEW)}), left 5 there (masked_lm." in said
    assert "2 arrays have random values and are frozen, so that they stay random: classifier; give" in said


@pytest.fixture(scope="module")
def imported(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier, exported, with its classes in another order, and imported again."""
    folder = tmp_path_factory.mktemp("classifier") / "hf"
    run = folder.with_name("imported")
    assert main(["export", "--run", str(classifier), "--output", str(folder)]) == 0
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "English", "1": "Spanish"}
    assert config["label2id"] == {"English": 0, "Spanish": 1}
    config["id2label"] = {"1": "English", "0": "Spanish"}
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["import", "--from", str(folder), "--output", str(run)]) == 0
    return run


def test_a_classifier_inherits_its_model_which_its_config_keeps(classifier: Path, bert: Path, labelled: Path):
    """Also once the source is gone; a directory that holds no run yet says so instead."""
    model = RunDirectory.at(bert).read_model()[0]
    expected = dataclasses.replace(model, head="sequence_classification", num_labels=2)
    assert RunDirectory.at(classifier).read_config().model == expected
    recipe, gone = HERE / "tiny_classifier_recipe.py", bert.with_name("gone")
    words = arguments(labelled, gone, classifier)[3:]
    assert run_config.load(recipe, words, read_source=read_source).model == expected
    with pytest.raises(ConfigError, match="gone is not a run directory"):
        run_config.load(recipe, arguments(labelled, gone, gone)[3:], read_source=read_source)


def test_the_model_of_a_classifier_has_its_number_of_classes_unless_it_is_overridden(classifier: Path):
    recipe = classifier / "config.json"
    source = dataclasses.replace(run_config.load(recipe).model, num_labels=3)
    for overrides, expected in ((), 3), (("--model.num-labels", "5"), 5):
        assert run_config.load(recipe, overrides, model=source).model == dataclasses.replace(
            source, num_labels=expected
        )


@pytest.mark.slow
def test_class_names_survive_export_and_import(imported: Path, labelled: Path, capsys):
    assert main(["generate", "--run", str(imported), "--text", corpus.verses()[300].spanish]) == 0
    assert capsys.readouterr().out == "English\n"  # as the numbers were exchanged
    options = ["--store", str(labelled / "heldout"), "--max-examples", "20"]
    assert main(["evaluate", "--run", str(imported), *options]) == 0
    metrics = json.loads((imported / "evaluation.json").read_text())["metrics"]
    assert metrics["accuracy"] < 0.3


def test_a_classifier_is_taken_over_with_its_classes_and_made_anew_for_others(
    imported: Path, labelled: Path, tmp_path: Path
):
    on = arguments(labelled, imported, tmp_path / "run")[3:]
    config = run_config.load(HERE / "tiny_classifier_recipe.py", on, read_source=read_source)
    partitioner = make_partitioner(PartitioningConfig(style="data_parallel"))

    def started(classes=None, **changes):
        changed = dataclasses.replace(config, model=dataclasses.replace(config.model, **changes))
        source = find_source(changed.initialize_from)
        plan = RunPlan(earlier=EarlierRun(), source=source)
        found = open_training_pipeline(changed, plan).classes
        taken = restore_source(source, build(changed.model), partitioner, classes or found, seed=0)
        return found, named(taken[0]), taken[1]

    classes, taken, report = started()
    assert classes is not None
    assert classes.texts == ("Spanish", "English")
    assert report.new == report.left == ()
    assert report.reason is None
    classifier = {"classifier.dense.bias", "classifier.dense.kernel"}
    others = LabelClasses(("no", "yes"), ((1,), (2,)))
    for problem, made in (
        ("the source has the classes 'Spanish', 'English', this run 'no', 'yes'", started(others)),
        ("the source has another number of outputs", started(num_labels=3)),
    ):
        _, anew, report = made
        assert report.reason == problem
        assert {leaf.name for leaf in report.new} == classifier
        assert not np.array_equal(anew["classifier.dense.kernel"], taken["classifier.dense.kernel"])
        np.testing.assert_array_equal(anew["pooler.dense.kernel"], taken["pooler.dense.kernel"])
    source = find_source(config.initialize_from)
    for head in ("sequence_regression", "token_classification"):
        other = build(dataclasses.replace(config.model, head=head))
        _, report = restore_source(source, other, partitioner, others, seed=0)
        assert report.reason == "the source has another head"
        assert {leaf.name for leaf in report.new} == classifier


def test_what_does_not_fit_is_refused(classifier: Path, bert: Path, labelled: Path, tmp_path: Path, capsys):
    run = tmp_path / "run"
    assert main([*arguments(labelled, bert, run), "--model.num-labels", "1"]) == 2
    assert "has 2 classes, 'English', 'Spanish', but model.num_labels=1" in capsys.readouterr().err
    assert main([*arguments(labelled, bert, run), "--model.mlp-dim", "128"]) == 2
    assert f"model.mlp_dim=128, there 64; take its shape by --model {bert}" in capsys.readouterr().err
    assert not run.exists()
