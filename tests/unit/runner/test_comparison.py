"""Runs side by side: what their files tell is told, what they lack is said, and a budget is kept."""

import dataclasses
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.cli.pareto_picture import _ticks
from t5lite.core.storage.addresses import place
from t5lite.core.storage.objects import upload_folder
from t5lite.evaluation.scoring import scores
from t5lite.models.config import DecoderOnlyConfig
from t5lite.models.parameter_count import count_parameters
from t5lite.runner.choosing import Criterion, pareto
from t5lite.runner.comparison import ComparedRun, read_run
from t5lite.runner.evaluation import Evaluation
from t5lite.runner.evaluation_records import store_evaluation
from t5lite.runner.measurements import Measured
from t5lite.runner.model_file import ModelFile, VocabularyFile
from t5lite.runner.scorer import Scored

REFERENCES = [f"{a} {b}" for a in ("the cat", "a dog", "my hat") for b in ("sat", "ran", "fell", "flew") * 6]


def model(width: int) -> DecoderOnlyConfig:
    return DecoderOnlyConfig(
        vocab_size=64, embed_dim=width, mlp_dim=2 * width, head_dim=4, num_heads=2, num_layers=2
    )


def make_run(
    folder: Path,
    width: int,
    share: float,
    *,
    seed: int = 0,
    flops: float = 0.0,
    store: str = "/held/out",
    contents: str | None = None,
    references: Sequence[str] = REFERENCES,
    average: str | int | None = None,
    step: int = 10,
    vocabulary: str = "0" * 64,
    decoding: dict[str, Any] | None = None,
    **data: Any,
) -> str:
    """Write a run whose predictions are the references in ``share`` of the examples, or one more record."""
    folder.mkdir(parents=True, exist_ok=True)
    described = ModelFile("decoder_only", model(width), VocabularyFile(0, vocabulary))
    (folder / "model.json").write_text(json.dumps(described.to_json()))
    if flops:
        entries = [
            {"kind": "start", "step": 0, "devices": 2, "peak_flops_per_second": 1e12},
            {"kind": "train", "step": 10, "mfu": flops / 1e13, "step_seconds": 0.5, "tokens_per_second": 7.0},
            {"kind": "eval", "step": 10, "evaluation": "heldout", "loss": 2.0, "examples_seen": 80},
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in entries))
    rng = random.Random(seed)
    texts = [text if rng.random() < share else "nothing like it" for text in references]
    found = scores(("accuracy", "bleu"), texts, references)
    examples = [
        {
            "example": place,
            "input": f"{place}",
            "reference": reference,
            "prediction": text,
            "output_cut": False,
        }
        for place, (text, reference) in enumerate(zip(texts, references, strict=True))
    ]
    made = Scored(found.of_all, examples)
    result = Evaluation(
        "heldout",
        step,
        store,
        len(texts),
        {"loss": 3 - share, "bits_per_byte": 3 - share, **made.scores},
        scores=made.found,
        predictions=made.examples,
        settings={"average": average, "data": {"store": store, **data}}
        | ({} if decoding is None else {"decoding": decoding}),
        contents=contents,
    )
    store_evaluation(folder, result)
    return str(folder)


def compared(capsys, *arguments: str) -> dict:
    assert main(["compare", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_figures_are_those_of_the_files(tmp_path: Path, capsys):
    runs = [make_run(tmp_path / "small", 8, 0.3, flops=4e8), make_run(tmp_path / "large", 16, 0.9, flops=9e9)]
    said = compared(capsys, *runs)
    assert said["by"] == {"evaluation": "heldout", "metric": "accuracy", "lower_is_better": False}
    small, large = said["runs"]
    assert small["num_parameters"] == count_parameters(model(8)) == small["parameter_bytes"] / 4
    assert small["training_flops"] == pytest.approx(10 * 4e8 / 1e13 * 1e12 * 2 * 0.5)
    assert (small["tokens_per_second"], small["num_devices"], small["step"]) == (7.0, 2, 10)
    assert large["lacks"] == []
    assert large["is_pareto"]
    interval = large["evaluations"]["heldout"]["intervals"]["accuracy"]
    assert interval["low"] < large["evaluations"]["heldout"]["metrics"]["accuracy"] < interval["high"]
    assert said["advice"].startswith(f"Use {runs[1]}: it is the best of these (accuracy of heldout ")
    assert compared(capsys, *runs, "--metric", "loss")["by"]["lower_is_better"]


def test_the_speed_of_a_run_is_not_that_of_the_run_it_went_on_from(tmp_path: Path):
    run = make_run(tmp_path / "run", 8, 0.3, flops=4e8)
    metrics = tmp_path / "run" / "metrics.jsonl"
    start, train, measured = metrics.read_text().splitlines()
    faster = {"tokens_per_second": 900.0, "mfu": 0.9, "step_seconds": 0.5}
    other = [json.dumps({"kind": "train", "step": step, **faster}) for step in range(1, 9)]
    for own, speed, flops in (([train, measured], 7.0, 10 * 4e8 / 1e13 * 1e12 * 2 * 0.5), ([], None, None)):
        lines = [*other, start.replace('"step": 0', '"step": 8'), *own]
        metrics.write_text("".join(f"{line}\n" for line in lines))
        found = read_run(run)
        assert (found.tokens_per_second, found.training_flops) == (speed, pytest.approx(flops))
        assert found.step == (10 if own else 8)


@pytest.mark.parametrize("name", ["retired", "f1:yes"])
def test_a_metric_that_is_no_more_or_is_of_one_class_is_compared(name, tmp_path, capsys):
    runs = [make_run(tmp_path / "first", 8, 0.3), make_run(tmp_path / "second", 8, 0.9)]
    for file in tmp_path.glob("*/evaluations/*.json"):
        file.write_text(file.read_text().replace('"accuracy', f'"{name}'))
    said = compared(capsys, *runs)
    assert said["by"]["metric"] == ("bleu" if name == "retired" else name)
    assert all(name in run["evaluations"]["heldout"]["metrics"] for run in said["runs"])
    said = compared(capsys, *runs, "--metric", name)
    assert said["advice"].startswith(f"Use {runs[1]}")


def test_texts_of_one_search_are_compared(tmp_path: Path, capsys):
    """Of a run that has both, greedy search; the loss is of no search."""
    beams = {"strategy": "beam", "num_beams": 2}
    runs = [make_run(tmp_path / "first", 8, 0.6), make_run(tmp_path / "second", 8, 0.3)]
    for seed in range(3):  # whatever the name of its file
        make_run(tmp_path / "second", 8, 1.0, decoding={**beams, "seed": seed})
    assert len(list((tmp_path / "second" / "evaluations").glob("*.json"))) == 4
    assert compared(capsys, *runs)["advice"].startswith(f"Use {runs[0]}: it is the best of these")
    other = make_run(tmp_path / "third", 8, 1.0, decoding=beams)
    assert compared(capsys, runs[0], other, "--metric", "loss")["advice"].startswith(f"Use {other}: ")
    assert main(["compare", runs[0], other]) == 0
    said = capsys.readouterr().out
    assert "No choice is made" in said
    assert f"decoding={json.dumps(beams)}" in said


def test_a_budget_is_kept_and_a_smaller_run_that_may_be_as_good_is_chosen(tmp_path: Path, capsys):
    small = make_run(tmp_path / "small", 8, 0.6, seed=1)
    middle = make_run(tmp_path / "middle", 12, 0.62, seed=2, flops=1e9)
    large = make_run(tmp_path / "large", 16, 1.0)
    said = compared(capsys, small, middle, large)
    assert said["advice"].startswith(f"Use {large}: ")
    assert "less on the same examples." in said["advice"]
    assert f"{small}: training FLOPs are not recorded" in " ".join(said["runs"][0]["lacks"])
    limit = str(count_parameters(model(12)))
    advice = compared(capsys, small, middle, large, "--max-parameters", limit)["advice"]
    assert advice.startswith(f"Use {small}: ")
    assert "on the same examples" in advice
    assert "may be chance" in advice
    advice = compared(capsys, small, middle, large, "--max-flops", "1e20")["advice"]
    assert advice.startswith(f"Use {middle}: it is the only one within 1e+20 training FLOPs")
    advice = compared(capsys, small, large, "--max-parameters", "10")["advice"]
    assert advice.startswith(f"No run is within 10 parameters; the smallest, {small}, has ")


def test_pictures_and_pages_are_written_once(tmp_path: Path, capsys):
    runs = [make_run(tmp_path / "deep" / ("r" * 99) / "a<b>", 8, 0.3), make_run(tmp_path / "large", 16, 0.9)]
    written = {"--picture": tmp_path / "p.svg", "--html": tmp_path / "p.html"}
    options = [str(word) for pair in written.items() for word in pair]
    assert main(["compare", *runs, *options]) == 0
    table, *_ = capsys.readouterr().out.splitlines()
    assert table.split()[:2] == ["run", "parameters"]
    picture, page = (path.read_text() for path in written.values())
    assert picture.startswith("<?xml")
    assert "a<b>" not in page
    assert "a&lt;b&gt;" in page
    for option, path in written.items():
        assert main(["compare", *runs, option, str(path)]) == 2
        assert f"{option} {path} is there already" in capsys.readouterr().err
    assert main(["compare", *runs, "--picture", str(tmp_path / "p.gif")]) == 2
    assert "give a name in .svg or .png" in capsys.readouterr().err


def without_evaluations(run: str) -> str:
    shutil.rmtree(Path(run) / "evaluations")
    return run


@pytest.mark.parametrize("named", [(), ("--evaluation", "heldout")], ids=["", "named"])
def test_runs_that_lack_the_evaluation_are_left_out_and_counted(named, tmp_path: Path, capsys):
    runs = [make_run(tmp_path / name, 8, share) for name, share in (("a", 0.3), ("b", 0.9), ("c", 0.5))]
    lacking = [without_evaluations(make_run(tmp_path / name, 8, 0.5)) for name in ("x", "y")]
    said = compared(capsys, lacking[0], *runs, lacking[1], *named)
    assert [run["run"] for run in said["runs"]] == runs
    assert said["advice"].startswith(f"Use {runs[1]}: it is the best of these")
    assert said["notes"][0] == (
        f"2 of 5 runs left out, in which heldout is not recorded: {lacking[0]}, {lacking[1]}; "
        "`t5lite evaluate` records it"
    )
    alone = [*lacking, runs[0], *named]
    if named:
        assert compared(capsys, *alone)["advice"].startswith(f"Use {runs[0]}: it is the only one of these")
    else:
        assert main(["compare", *alone]) == 2
        assert "the runs have none in common; `t5lite evaluate` records one" in capsys.readouterr().err


def test_what_cannot_be_compared_is_refused_in_a_line(tmp_path: Path, capsys):
    first, second = make_run(tmp_path / "a", 8, 0.3), make_run(tmp_path / "b", 8, 0.9)
    for arguments, message in (
        ([first], "give two run directories or more"),
        ([first, first], "is given twice"),
        ([first, second, "--max-parameters", "nan"], "--max-parameters nan must be above 0"),
        ([first, second, "--max-flops", "-1"], "--max-flops -1 must be above 0"),
        ([first, str(tmp_path)], "is not a run directory"),
        ([first, second, "--metric", "accuracies"], "did you mean 'accuracy'"),
        ([first, second, "--evaluation", "held"], "is not recorded in"),
    ):
        assert main(["compare", *arguments]) == 2
        assert message in capsys.readouterr().err
    (record,) = (tmp_path / "b" / "evaluations").glob("*.json")
    record.write_text("{}")
    assert main(["compare", first, second]) == 2
    assert f"{record} is damaged" in capsys.readouterr().err


OTHERS = [f"{reference} again" for reference in REFERENCES[:40]]


@pytest.mark.parametrize(
    ("other", "metric", "said"),
    [
        ({"store": "/other", "references": OTHERS}, "accuracy", "/other (40 examples)"),
        ({"references": REFERENCES[:40]}, "accuracy", "/held/out (40 examples)"),
        ({"contents": "1" * 16, "references": OTHERS}, "accuracy", "digest 11111111"),
        ({"contents": "1" * 16}, "loss", "digest 11111111"),
        ({"inputs_length": 8}, "loss", "inputs_length=8"),
        ({"kind": "Deshuffling"}, "loss", 'kind="Deshuffling"'),
        ({"store": "/other"}, "loss", "/other"),
    ],
    ids=["store", "number", "contents", "contents of one number", "settings", "kind", "store of a loss"],
)
def test_figures_of_other_examples_are_named_and_choose_nothing(tmp_path, capsys, other, metric, said):
    contents: dict[str, Any] = {"contents": "0" * 16} if "contents" in other else {}
    usual: dict[str, Any] = {"inputs_length": 9, "kind": "CausalLM"}
    first = make_run(tmp_path / "a", 8, 0.3, **usual, **contents)
    second = make_run(tmp_path / "b", 8, 0.9, **{**usual, **other})
    found = compared(capsys, first, second, "--metric", metric)
    assert found["advice"].startswith("No choice is made: heldout of these runs is not of the same examples")
    (note,) = [each for each in found["notes"] if each.startswith(f"{second}: heldout of ")]
    assert said in note
    assert not any(each["is_pareto"] or each["is_comparable"] for each in found["runs"])
    third = make_run(tmp_path / "c", 8, 0.8, **usual, **contents)
    found = compared(capsys, second, first, third, "--metric", metric)
    assert found["advice"].startswith(f"Use {third}: it is the best of those on the same examples")
    assert [each["is_comparable"] for each in found["runs"]] == [False, True, True]
    assert any(
        each.startswith(f"{second}: ") and each.endswith("not the same examples or decoding as of the others")
        for each in found["notes"]
    )
    assert main(["compare", first, second, "--metric", metric, "--picture", str(tmp_path / "p.svg")]) == 2
    assert "nothing is drawn" in capsys.readouterr().err
    assert not (tmp_path / "p.svg").exists()


@pytest.mark.parametrize("same", [{"contents": "0" * 16, "store": "/copy"}, {"store": "/elsewhere"}], ids=str)
def test_the_same_texts_are_compared_wherever_they_lie(tmp_path, capsys, same):
    contents: dict[str, Any] = {"contents": "0" * 16} if "contents" in same else {}
    first, second = make_run(tmp_path / "a", 8, 0.3, **contents), make_run(tmp_path / "b", 8, 0.9, **same)
    assert compared(capsys, first, second, "--metric", "accuracy")["advice"].startswith(f"Use {second}")


def test_bits_per_byte_compares_vocabularies_and_says_what_is_not_known(tmp_path, capsys):
    first = make_run(tmp_path / "a", 8, 0.3, contents="0" * 16)
    other: dict[str, Any] = {"contents": "1" * 16, "store": "/other"}
    second = make_run(tmp_path / "b", 8, 0.9, vocabulary="1" * 64, **other)
    found = compared(capsys, first, second, "--metric", "bits_per_byte")
    assert found["advice"].startswith(f"Use {second}")
    assert any("if their stores hold the same text" in note for note in found["notes"])
    third = make_run(tmp_path / "c", 8, 0.8, **other)
    found = compared(capsys, first, third, "--metric", "bits_per_byte")
    assert found["advice"].startswith("No choice is made")


@pytest.mark.parametrize("name", ["kind", "objective", "head"])
def test_bits_per_byte_of_what_is_asked_otherwise_are_not_compared(tmp_path, capsys, name):
    """Older records do not tell, and are compared."""
    first = make_run(tmp_path / "a", 8, 0.3, **{name: "this"})
    second = make_run(tmp_path / "b", 8, 0.9, vocabulary="1" * 64, **{name: "that"})
    found = compared(capsys, first, second, "--metric", "bits_per_byte")
    assert found["advice"].startswith("No choice is made")
    older = make_run(tmp_path / "c", 8, 0.8, vocabulary="2" * 64)
    assert compared(capsys, first, older, "--metric", "bits_per_byte")["advice"].startswith(f"Use {older}")


def test_of_several_records_those_of_the_same_examples_are_compared(tmp_path, capsys):
    first = make_run(tmp_path / "a", 8, 0.3)
    make_run(tmp_path / "a", 8, 0.4, references=REFERENCES[:40], step=20)
    second = make_run(tmp_path / "b", 8, 0.9)
    found = compared(capsys, first, second)
    assert found["advice"].startswith(f"Use {second}")
    assert "less on the same examples" in found["advice"]
    assert [each["evaluations"]["heldout"]["step"] for each in found["runs"]] == [10, 10]
    assert found["notes"][0].startswith("heldout of all of them: step 10: /held/out (72 examples)")


@pytest.mark.parametrize("flops", [0.0, 4e8], ids=["imported", "trained"])
def test_held_out_data_decides_before_files_of_texts_however_records_are_called(tmp_path, capsys, flops):
    runs = [make_run(tmp_path / name, 8, share, flops=flops) for name, share in (("a", 0.3), ("b", 0.9))]
    for run in runs:
        for name, step in (("minimal-pairs", 1), ("probe", 2), ("abc", 9)):
            store_evaluation(run, Evaluation(name, step, f"/{name}", 8, {"accuracy": 0.5}))
    found = compared(capsys, *runs)
    names = list(found["runs"][0]["evaluations"])
    expected = ["heldout", "abc"] if flops else ["abc", "heldout"]
    assert names == [*expected, "minimal-pairs", "probe"]
    assert found["by"]["evaluation"] == expected[0]


@pytest.mark.parametrize(
    ("average", "words"), [("ema", "step 10, the moving average"), (3, "step 10, average 3")]
)
def test_averages_of_the_same_examples_are_compared_and_named(tmp_path, capsys, average, words):
    first, second = make_run(tmp_path / "a", 8, 0.3), make_run(tmp_path / "b", 8, 0.9, average=average)
    found = compared(capsys, first, second)
    assert found["advice"].startswith(f"Use {second}")
    assert f"{second}: heldout of {words}: /held/out (72 examples)" in found["notes"]


def test_evaluations_of_trainings_are_of_what_their_configurations_say(tmp_path, capsys):
    recipe = run_config.load(Path(__file__).parents[2] / "e2e" / "tiny_recipe.py")
    runs = []
    for name, limit in (("a", 32), ("b", 32), ("c", 8)):
        folder = tmp_path / name
        make_run(folder, 8, 0.5, flops=1e9)
        shutil.rmtree(folder / "evaluations")
        evaluation = dataclasses.replace(recipe.evaluations["heldout"], max_examples=limit)
        run_config.save(
            dataclasses.replace(recipe, evaluations={"heldout": evaluation}), folder / "config.json"
        )
        runs.append(str(folder))
    found = compared(capsys, *runs)
    assert [each["is_comparable"] for each in found["runs"]] == [True, True, False]
    assert any("at most 8 examples" in note and runs[2] in note for note in found["notes"])
    (tmp_path / "c" / "config.json").unlink()
    assert any("a store that is not recorded" in note for note in compared(capsys, *runs)["notes"])


def test_a_run_by_another_name_is_the_same(tmp_path, capsys, monkeypatch):
    make_run(tmp_path / "a", 8, 0.3)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    for other in ("./a", "a/", str(tmp_path / "a"), "link"):
        assert main(["compare", "a", other]) == 2
        assert f"{other} is given twice, once as a; give each run once" in capsys.readouterr().err


def test_runs_in_a_bucket_are_compared_and_their_page_is_put_there(tmp_path: Path, bucket: str, capsys):
    local = [make_run(tmp_path / name, 8, share) for name, share in (("a é", 0.3), ("a é b", 0.9))]
    runs = [f"{bucket}/{Path(each).name}" for each in local]
    for each, run in zip(local, runs, strict=True):
        upload_folder(Path(each), place(run))
    for found, expected in zip(*(compared(capsys, *each)["runs"] for each in (runs, local)), strict=True):
        assert {**found, "run": "", "lacks": ()} == {**expected, "run": "", "lacks": ()}
    page = f"{bucket}/my page.html"
    assert main(["compare", *runs, "--html", page]) == 0
    assert "a é b" in place(page).read_text()
    capsys.readouterr()
    for words, said in (
        ([*runs, "--html", page], f"--html {page} is there already"),
        ([*runs, "--html", f"{runs[0]}/page.html"], "which is read; write to a place apart"),
        ([runs[0], f"{runs[0]}/"], "is given twice"),
        ([*runs, "--html", f"{bucket.split(':')[0]}://no-such-bucket/x.html"], "there is no bucket"),
    ):
        assert main(["compare", *words]) == 2
        assert said in capsys.readouterr().err


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=2, max_size=6), st.booleans())
def test_the_front_is_of_those_whom_nobody_beats(points, lower):
    runs = [ComparedRun(str(place), 1, 4, 1, None, None, None, {}, ()) for place in range(len(points))]
    chosen = {str(place): Measured(step=1, metrics={"m": y}) for place, (_, y) in enumerate(points)}
    by = Criterion("heldout", "m", lower, chosen)
    front = pareto(runs, by, [x for x, _ in points])
    assert any(front)
    for is_front, (x, y) in zip(front, points, strict=True):
        good = -y if lower else y
        beaten = any(a <= x and (-b if lower else b) >= good and (a, b) != (x, y) for a, b in points)
        assert is_front != beaten


@given(st.lists(st.floats(1, 1e12), min_size=1, max_size=9, unique=True))
def test_numbers_below_the_picture_do_not_touch(costs):
    costs = sorted(costs)
    ticks = _ticks(costs)
    assert ticks[0] == costs[0]
    assert ticks[-1] == costs[-1]
    widths = np.diff(np.log(ticks))
    assert (widths >= 0.299 * np.log(costs[-1] / costs[0])).all()


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_run_whose_figure_is_no_number_is_neither_chosen_nor_drawn(first, tmp_path: Path, capsys):
    """In whichever place it is given; the others are compared as without it."""
    runs = [make_run(tmp_path / name, width, share) for name, width, share in (("a", 8, 0.9), ("b", 4, 0.1))]
    diverged = make_run(tmp_path / "diverged", 12, 0.5)
    for file in Path(diverged).glob("**/*.json"):
        content = json.loads(file.read_text())
        if "metrics" in content:
            content["metrics"] = dict.fromkeys(content["metrics"], float("nan"))
            file.write_text(json.dumps(content))
    runs.insert(first, diverged)
    assert main(["compare", *runs, "--picture", str(tmp_path / "all.svg")]) == 0
    said = capsys.readouterr().out
    assert f"Use {tmp_path / 'a'}: it is the best" in said
    assert f"{diverged}: " in said
    assert "no number: it is neither chosen nor drawn" in said
    (row,) = (line for line in said.splitlines() if line.startswith(f"{diverged} "))
    assert not row.endswith("front")
