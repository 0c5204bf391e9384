"""A user's file, prepared for a task, trained on and scored by it, by command."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.launching.addresses import places
from t5lite.quickstart import corpus
from t5lite.runner.run_directory import RunDirectory
from t5lite.tasks.opening import open_task
from tests.e2e.conftest import HERE, REPOSITORY, Refused

RECIPE = REPOSITORY / "configs" / "finetune_task.py"
LENGTHS = ["--data.inputs-length", "24", "--data.targets-length", "16"]


def prepared(task: str, rows: list[dict[str, str]], directory: Path, text_data: Path, *words: str) -> Path:
    file, output = directory / "rows.jsonl", directory / "prepared"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words += ("--vocabulary", str(text_data / "vocabulary" / "spiece.model"), "--heldout-fraction", "0.1")
    assert (
        main(["prepare", "task", "--task", task, "--inputs", str(file), "--output", str(output), *words]) == 0
    )
    return output


@pytest.fixture(scope="module")
def task_data(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Verses in a table, prepared for translation into another language than the task's own."""
    rows = [
        {"id": str(each), "source": verse.english, "es": verse.spanish}
        for each, verse in enumerate(corpus.verses()[:200])
    ]
    words = ["--columns", "target", "es", "--constants", "target_language", "Spanish"]
    return prepared("translation", rows, tmp_path_factory.mktemp("task"), text_data, *words)


def train(data: Path, source: Path, run: Path, task: str) -> list[str]:
    return [
        *("train", "--config", str(RECIPE), "--task", task, "--initialize-from.run", str(source)),
        *("--data.store", str(data / "train"), "--evaluations.heldout.store", str(data / "heldout")),
        *("--run-dir", str(run), "--training.total-steps", "2", "--training.batch-size", "8"),
        *("--evaluations.heldout.max-examples", "8", "--schedule.decay-steps", "1", *LENGTHS),
        *("--schedule.warmup-steps", "1", "--evaluations.heldout.batch-size", "8"),
    ]


@pytest.mark.slow
def test_a_file_of_rows_is_trained_on_and_scored_by_its_task(task_data, pretrained, tmp_path, capsys):
    task, run = task_data / "task.json", tmp_path / "run"
    assert json.loads(task.read_text())["constants"]["target_language"] == "Spanish"
    gone = tmp_path / "gone.json"
    shutil.copy(task, gone)
    assert main(train(task_data, pretrained, run, str(gone))) == 0
    gone.unlink()
    assert main(["train", "--config", str(run / "config.json")]) == 0
    assert "is finished" in capsys.readouterr().err
    config = RunDirectory.at(run).read_config()
    kept = config.evaluations["heldout"].task
    assert kept is not None
    assert open_task(kept) == open_task(str(task))
    assert (config.data.lengths("encoder_decoder")) == (24, 16)
    capsys.readouterr()
    assert main(["evaluate", "--run", str(run)]) == 0
    said = capsys.readouterr().out
    assert all(metric in said for metric in ("bleu", "chrf", "loss"))
    (sample, *_) = json.loads(next((run / "evaluations").glob("**/*.json")).read_text())["samples"]
    assert sample["inputs"].startswith("translate English to Spanish: ")

    (greedy,) = (run / "evaluations").glob("*.jsonl")
    (sentinel,) = RunDirectory.at(run).read_model()[1].encode("<extra_id_0>", parse_sentinels=True).tolist()
    assert "<extra_id_0>" in sample["prediction"]  # which another decoding does not have, then
    beams = {"strategy": "beam", "num_beams": 2, "suppress_tokens": [sentinel]}
    file, found = tmp_path / "beams.json", tmp_path / "beams.jsonl"
    file.write_text(json.dumps({**json.loads(task.read_text()), "decoding": beams}))
    assert main(["evaluate", "--run", str(run), "--task", str(file), "--predictions", str(found)]) == 0
    assert f"texts are written with {json.dumps(beams)}" in capsys.readouterr().out
    files = ["--input-file", str(found), "--field", "input", "--output-file", str(tmp_path / "out.jsonl")]
    options = ["--strategy", "beam", "--num-beams", "2", "--suppress-tokens", str(sentinel)]
    assert main(["generate", "--run", str(run), *options, *files]) == 0
    scored, written, others = (
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in (found, tmp_path / "out.jsonl", greedy)
    )
    assert [each["prediction"] for each in scored] == [each["output"] for each in written]
    assert all(each["prediction"] != other["prediction"] for each, other in zip(scored, others, strict=True))
    assert len(list((run / "evaluations").glob("*.json"))) == 2
    # The same options on the command line write the same texts.
    again = tmp_path / "again.jsonl"
    assert main(["evaluate", "--run", str(run), *options, "--predictions", str(again)]) == 0
    assert f"texts are written with {json.dumps(beams)}" in capsys.readouterr().out
    assert again.read_text() == found.read_text()
    words = ["evaluate", "--run", str(run), "--task", str(file), "--strategy", "greedy"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"not taken is the task's own decoding, {json.dumps(beams)}" in said
    assert "texts are written with" not in said
    # It is what was measured first, made again.
    assert len(list((run / "evaluations").glob("*.json"))) == 3


@pytest.mark.slow
def test_tasks_that_are_mixed_as_the_page_says_are_scored_each_by_its_own(
    task_data, text_data, tmp_path, capsys
):
    rows = [
        {"text": text, "label": label}
        for verse in corpus.verses()[:60]
        for text, label in ((verse.english, "English"), (verse.spanish, "Spanish"))
    ]
    stores = {"verses": task_data, "novels": prepared("classification", rows, tmp_path, text_data)}
    run, recipe = str(tmp_path / "run"), str(HERE / "tiny_task_mixture_recipe.py")
    command = ["train", "--config", recipe, "--run-dir", run]
    command += ["--training.total-steps", "3", "--schedule.decay-steps", "1"]
    for number, (name, store) in enumerate(stores.items()):
        source, evaluation = f"--data.sources.{number}.data", f"--evaluations.{name}"
        command += [f"{source}.store", str(store / "train"), f"{evaluation}.store", str(store / "heldout")]
        command += [f"{source}.inputs-length", "24", f"{source}.targets-length", "16"]
        command += [f"{evaluation}.batch-size", "4", f"{evaluation}.max-examples", "4"]
    assert main(command) == 0
    capsys.readouterr()
    assert main(["evaluate", "--run", run]) == 0
    verses, novels = capsys.readouterr().out.split(" at step 3, ")[1:]
    for said, name, scored, other in (
        (verses, "verses", {"bleu", "chrf"}, "accuracy"),
        (novels, "novels", {"accuracy", "label_fraction"}, "bleu"),
    ):
        first, *lines = said.splitlines()
        assert first == f"{name}: {stores[name] / 'heldout'} (4 examples)"
        metrics = {line.split()[0] for line in lines if line.startswith("  ")}
        assert {"loss", "token_accuracy", *scored} <= metrics
        assert other not in metrics


def test_a_task_says_lengths_and_scoring_of_a_recipe(tmp_path, monkeypatch):
    def load(*words: str, **options):
        return run_config.load(RECIPE, ["--initialize-from", "None", *words], model="t5-1.1-small", **options)

    config = load(task="translation")
    assert config.data.lengths("encoder_decoder") == (128, 128)
    assert config.evaluations["heldout"].task == "translation"
    words = ["--data.inputs-length", "9", "--evaluations.heldout.task", "dialogue"]
    changed = load(*words, task="translation")
    assert changed.data.lengths("encoder_decoder") == (9, 128)
    assert changed.evaluations["heldout"].task == "dialogue"
    assert load().evaluations["heldout"].task is None
    # What another machine has to see of it is its file.
    assert "evaluations.heldout.task" not in places(config.resolved())
    (tmp_path / "mine.json").write_text('{"name": "mine"}')
    monkeypatch.chdir(tmp_path)
    mine = places(load(task="mine.json").resolved())
    assert mine["evaluations.heldout.task"] == str(tmp_path / "mine.json")


def test_an_encoder_tells_classes_apart_and_a_decoder_goes_on():
    encoder = run_config.load(
        REPOSITORY / "configs" / "finetune_bert_classification.py",
        ["--initialize-from", "None"],
        model="bert-base",
        task="sst2",
    )
    assert encoder.data.lengths("encoder_only") == (512, 0)
    assert encoder.evaluations["heldout"].task is None  # accuracy is measured without writing
    decoder = run_config.load(RECIPE, ["--initialize-from", "None"], model="gpt2", task="sentiment")
    assert decoder.data.lengths("decoder_only") == (0, 256 + 8 - 1)
    assert decoder.evaluations["heldout"].task == "sentiment"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "translations"], "unknown task 'translations'; did you mean 'translation'"),
        (["--task", "nowhere.json"], r"nowhere\.json is no file"),
        (["--evaluations.heldout.task", "sst3"], "unknown task 'sst3'; did you mean 'sst2'"),
        (["--evaluations.heldout.task", "nowhere.yaml"], r"nowhere\.yaml is no file"),
        (["--evaluations.heldout.task", "mine.json"], "unknown metric 'blue'; did you mean 'bleu'"),
    ],
    ids=str,
)
def test_what_is_no_task_is_refused(words, message, task_data, pretrained, tmp_path, refused: Refused):
    (tmp_path / "mine.json").write_text('{"name": "mine", "metrics": ["blue"]}')
    command = train(task_data, pretrained, tmp_path / "run", "translation")
    if words[0] == "--task":
        command[command.index("--task") : command.index("--task") + 2] = []
    refused([*command, *words], message)


def test_a_task_is_of_pairs(train_arguments, tmp_path, refused: Refused):
    message = "a task is of pairs .* and data is .*configs/finetune_task.py"
    refused([*train_arguments, "--run-dir", tmp_path / "run", "--task", "translation"], message)


def test_text_is_generated_in_a_training_of_one_process_alone(
    task_data, pretrained, tmp_path, refused: Refused, monkeypatch
):
    monkeypatch.setattr("t5lite.runner.preparation.jax", SimpleNamespace(process_count=lambda: 2))
    command = train(task_data, pretrained, tmp_path / "run", "translation")
    message = r"heldout\.task_in_training generates text in one process, and there are 2; leave it to"
    refused([*command, "--evaluations.heldout.task-in-training", "True"], message)


def test_tasks_are_listed_and_shown(capsys):
    assert main(["tasks"]) == 0
    assert "translation" in capsys.readouterr().out
    assert main(["tasks", "translation"]) == 0
    said = capsys.readouterr().out
    assert "translate English to German: That is good." in said
    assert "Das ist gut." in said
    assert main(["tasks", "translation", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == "{target}"
    assert main(["tasks", "translate"]) == 2
    assert "did you mean 'translation'" in capsys.readouterr().err
