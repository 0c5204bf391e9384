"""Runs side by side: what their files tell is told, what they lack is said, and a budget is kept."""

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.cli.main import main
from t5lite.cli.pareto_picture import _ticks
from t5lite.evaluation.scoring import scores
from t5lite.models.config import DecoderOnlyConfig
from t5lite.models.parameter_count import count_parameters
from t5lite.runner.choosing import Criterion, pareto
from t5lite.runner.comparison import ComparedRun, Measured
from t5lite.runner.evaluation import Evaluation
from t5lite.runner.evaluation_records import store_evaluation
from t5lite.runner.model_file import ModelFile, VocabularyFile
from t5lite.runner.task_scoring import Scored

REFERENCES = [f"{a} {b}" for a in ("the cat", "a dog", "my hat") for b in ("sat", "ran", "fell", "flew") * 6]


def model(width: int) -> DecoderOnlyConfig:
    return DecoderOnlyConfig(
        vocab_size=64, embed_dim=width, mlp_dim=2 * width, head_dim=4, num_heads=2, num_layers=2
    )


def make_run(
    folder: Path, width: int, share: float, *, seed: int = 0, flops: float = 0.0, store: str = "/held/out"
) -> str:
    """Write a run whose predictions are the references in ``share`` of the examples."""
    folder.mkdir(parents=True)
    described = ModelFile("decoder_only", model(width), VocabularyFile(0, "0" * 64))
    (folder / "model.json").write_text(json.dumps(described.to_json()))
    if flops:
        entries = [
            {"kind": "start", "step": 0, "devices": 2, "peak_flops_per_second": 1e12},
            {"kind": "train", "step": 10, "mfu": flops / 1e13, "step_seconds": 0.5, "tokens_per_second": 7.0},
            {"kind": "eval", "step": 10, "evaluation": "heldout", "loss": 2.0, "examples_seen": 80},
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in entries))
    rng = random.Random(seed)
    texts = [text if rng.random() < share else "nothing like it" for text in REFERENCES]
    found = scores(("accuracy", "bleu"), texts, REFERENCES)
    examples = [
        {
            "example": place,
            "input": f"{place}",
            "reference": reference,
            "prediction": text,
            "output_cut": False,
        }
        for place, (text, reference) in enumerate(zip(texts, REFERENCES, strict=True))
    ]
    made = Scored(found.of_all, examples)
    metrics = {"loss": 3 - share, **made.scores}
    result = Evaluation(
        "heldout", 10, store, len(texts), metrics, scores=made.found, predictions=made.examples
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


def test_what_cannot_be_compared_is_refused_in_a_line(tmp_path: Path, capsys):
    first, second = make_run(tmp_path / "a", 8, 0.3), make_run(tmp_path / "b", 8, 0.9)
    for arguments, message in (
        ([first], "give two run directories or more"),
        ([first, first], "is given twice"),
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


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=2, max_size=6), st.booleans())
def test_the_front_is_of_those_whom_nobody_beats(points, lower):
    by = Criterion("heldout", "m", lower)
    measured = Measured(1, "", 1, {})
    runs = [
        ComparedRun(
            str(place),
            1,
            4,
            1,
            None,
            None,
            None,
            {"heldout": dataclasses.replace(measured, metrics={"m": y})},
            (),
        )
        for place, (_, y) in enumerate(points)
    ]
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
