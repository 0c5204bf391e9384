"""The report of runs: every kind of place, runs in every state, hostile names; what is missing is said."""

import csv
import dataclasses
import io
import json
import re
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.core.errors import ConfigError
from t5lite.data.vocabulary.byte_vocabulary import ByteVocabulary
from t5lite.pages.figures import LIGHT, canvas, label_right
from t5lite.pages.themed_svg import colors_used, plain_text, themed_svg
from t5lite.runner.run_directory import RunDirectory
from t5lite.scaling.report.drawing import dark_twin, decades, short
from t5lite.scaling.report.fit_figures import MOST_DOTS, thinned
from t5lite.scaling.report.run_directories import once_each, read_run
from t5lite.scaling.report.sources import read_all, remarks, sources
from t5lite.scaling.sweep_list import ListedRun, read_list
from t5lite.scaling.tables import Reading
from tests.unit.scaling.simulated import isoflops

RECIPE = Path(__file__).parents[2] / "e2e" / "tiny_gpt_recipe.py"
ISOFLOP = ("--methods", "isoflop", "--resamples", "20")
FAST = ("--methods", "isoflop", "chinchilla", "--resamples", "20")


def write_table(path: Path, *, num_budgets: int = 4, sizes: int = 5, **columns: list[str]) -> int:
    """Write runs that follow a law; return how many."""
    runs = isoflops(noise=0.003, num_budgets=num_budgets, sizes=sizes)
    header = ["N", "D", "C", "L", *columns]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for place in range(len(runs)):
            sizes_of = (runs.params[place], runs.tokens[place], runs.flops[place], runs.loss[place])
            writer.writerow([*sizes_of, *(values[place % len(values)] for values in columns.values())])
    return len(runs)


def write_run(folder: Path, entries: list[dict], *, end: str | None = "finished", step: int = 30) -> Path:
    """Write the files of a run that was never trained."""
    folder.mkdir(parents=True)
    stores = ["--data.store", "/data/train", "--evaluations.heldout.store", "/data/heldout"]
    config = run_config.load(RECIPE, [*stores, "--run-dir", str(folder)])
    run_config.save(config, folder / "config.json")
    vocabulary = ByteVocabulary()
    RunDirectory.at(str(folder)).write_model(config.model, vocabulary, execution=config.execution)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in entries))
    attempt = {
        "version": 4, "number": 1, "host": "h", "pid": 1, "job": None, "program": None, "num_processes": 1,
        "num_devices": 1, "started": 1.7e9, "seconds": {"step": 90.0}, "waited_seconds": 0.0,
        "first_step": 0, "last_step": step, "num_steps": step, "found_step": 0, "retried_requests": 0,
        "incidents": {"rollbacks": 0, "damaged_checkpoints": 0, "failed_saves": 0, "blank_rows": 0},
        "left_out_examples": 0,
        "end": None if end is None else {"reason": end, "exit_code": 0, "message": None},
    }  # fmt: skip
    (folder / "ledger").mkdir()
    (folder / "ledger" / "1.json").write_text(json.dumps(attempt))
    return folder


def train(step: int, loss: float | None) -> dict:
    return {"kind": "train", "step": step, "loss": loss, "steps": 10, "step_seconds": 3.0}


def evaluation(step: int, loss: float | None) -> dict:
    return {"kind": "eval", "step": step, "evaluation": "heldout", "loss": loss}


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def report(tmp_path: Path, *arguments: str) -> str:
    output = tmp_path / "out"
    assert main(["report", *arguments, "--output", str(output)]) == 0
    return page_of(output)


@pytest.mark.slow
def test_a_table_of_four_columns_has_its_figures_law_and_files(tmp_path, capsys):
    count = write_table(tmp_path / "runs.csv")
    page = report(tmp_path, str(tmp_path / "runs.csv"), *FAST, "--fit-below", "9e20")
    assert capsys.readouterr().out.startswith(f"{count} runs: ")
    assert not re.search(r"""(?:src|srcset)=|<script|<link|@import|url\((?!#)""", page)
    hrefs = re.findall(r'(?<!xlink:)href="([^"#]+)"', page)
    assert {Path(each).suffix for each in hrefs} == {".png", ".csv"}
    assert all((tmp_path / "out" / each).is_file() for each in hrefs)
    names = {file.stem.split("_", 1)[1] for file in (tmp_path / "out").glob("*.png")}
    laws = {"isoflop", "best_tokens", "lowest_loss", "residuals", "predictions"}
    assert names == {f"{each}_runs" for each in laws}
    assert "Nothing was held out" not in page
    assert page.count("<th>missed by") == 1
    assert page.count("chinchilla</td>") == 6  # five runs that were held out, and the constants
    assert "have no curve" in page
    assert all(f"--c{color[1:]}: {dark_twin(color)}" in page for color in colors_used(page))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "table.csv").read_text())))
    assert [float(row["loss"]) for row in rows] == pytest.approx(list(isoflops(
        noise=0.003, num_budgets=4, sizes=5).loss))  # fmt: skip


@pytest.mark.slow
def test_what_was_predicted_before_is_held_against_the_runs(tmp_path, capsys):
    write_table(tmp_path / "runs.csv")
    runs = isoflops(noise=0.003, num_budgets=4, sizes=5)
    sizes = [f"{runs.params[-1]:.5g}", f"{runs.tokens[-1]:.5g}", "7e13", "2e15"]
    fit = ["scaling", "fit", str(tmp_path / "runs.csv"), "--fit-below", "9e20", "--predict-run", *sizes]
    assert main([*fit, "--methods", "chinchilla", "--resamples", "20", "--json"]) == 0
    (tmp_path / "before.json").write_text(capsys.readouterr().out)
    prediction = ["--predictions", str(tmp_path / "before.json")]
    page = report(tmp_path, str(tmp_path / "runs.csv"), *ISOFLOP, *prediction)
    assert "1 of 2 predictions are of sizes that no run here has" in page
    assert f"<td>{runs.loss[-1]:.4f}</td>" in page
    (tmp_path / "before.json").write_text("[1, 2]")
    assert main(["report", str(tmp_path / "runs.csv"), *prediction, "--output", str(tmp_path / "no")]) == 2
    assert "is not what" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_predictions_of_another_loss_are_refused(tmp_path, capsys):
    write_table(tmp_path / "runs.csv", bits=["1.5"])
    (tmp_path / "before.json").write_text('{"": {"columns": {}, "methods": {}}}')
    words = ["--columns", "loss", "bits", "--predictions", str(tmp_path / "before.json")]
    assert main(["report", str(tmp_path / "runs.csv"), *words, "--output", str(tmp_path / "no")]) == 2
    assert "--columns" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_in_every_state_are_shown_or_said(tmp_path, capsys):
    whole = [evaluation(0, 9.0), train(10, 5.0), evaluation(10, 4.9), train(30, 4.0), evaluation(30, 3.9)]
    runs = tmp_path / "sweep" / "runs"
    write_run(runs / "a", whole)
    write_run(runs / "early", whole[:3], step=10)
    write_run(runs / "killed", whole[:3], end=None, step=10)
    write_run(runs / "failed", [train(10, None), evaluation(10, None)], end="failed", step=10)
    write_run(runs / "unmeasured", [train(10, 5.0), train(30, 4.0)])
    write_run(runs / "damaged", whole)
    (runs / "damaged" / "config.json").write_text("{")
    listed = dict.fromkeys(["a", "early", "missing"], ListedRun(family="g", params=1, tokens=1, flops=1.0,
                                                                total_steps=30))  # fmt: skip
    written = {name: dataclasses.asdict(each) for name, each in listed.items()}
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(written))
    assert set(read_list(tmp_path / "sweep")) == set(listed)
    shutil.copytree(runs / "a", tmp_path / "elsewhere" / "a")
    given = [str(tmp_path / "sweep"), str(tmp_path / "elsewhere" / "a")]
    page = report(tmp_path, *given, *ISOFLOP)
    for said in (
        "3 of 6 runs are not finished (1 waiting, 1 failed, 1 killed): no law is of them",
        "1 of 6 runs ended before their last step, by early stopping",
        "1 of 6 runs have no evaluation",
        "2 of 6 runs have no curve",
        "1 of 6 runs have entries without a finite loss (1 in all)",
        "run damaged is not shown",
    ):
        assert said in page
    assert "damaged" in capsys.readouterr().out
    # What the list does not name has the family of its architecture, or of the runs of the same.
    assert "the family g" in page
    assert "No method can be fitted" in page
    assert page.count("<svg") == 4


def test_hours_tokens_and_flops_of_a_curve_go_by_steps(tmp_path):
    run = read_run(
        write_run(tmp_path / "run", [train(10, 5.0), train(20, 4.5), evaluation(20, 4.4)], step=20)
    )
    assert run.curve is not None
    assert run.curve.hours == pytest.approx([20 * 3.0 / 3600])
    assert run.curve.tokens == pytest.approx([run.number("tokens")])
    assert run.curve.flops == pytest.approx([run.number("flops")])
    assert run.family == "decoder-only"


def test_the_hours_of_a_dead_run_end_with_its_last_sign_of_life(tmp_path):
    run = read_run(write_run(tmp_path / "run", [train(10, 5.0)], end=None, step=10))
    assert run.state == "killed"
    assert run.number("seconds") == pytest.approx(90.0)
    assert run.number("goodput") == pytest.approx(1.0)


@given(st.lists(st.integers(1, 12), max_size=30))
def test_of_steps_that_were_done_again_the_later_entries_are_kept(steps):
    entries = [train(step, float(place)) for place, step in enumerate(steps)]
    kept, dropped = once_each(entries)
    assert dropped + len(kept) == len(entries)
    assert [each["step"] for each in kept] == sorted({each["step"] for each in kept})
    for entry in kept:
        place = int(entry["loss"])
        assert all(step > entry["step"] for step in steps[place + 1 :])


@pytest.mark.slow
def test_names_are_text_and_long_tables_stay_readable(tmp_path):
    names = ["<script>alert(1)</script>", "$x^2", "量" * 70, "a&b\"'"]
    count = write_table(tmp_path / "runs.csv", sizes=50, run=[f"{names[i % 4]}{i}" for i in range(200)],
                        family=["<b>", "$\\frac"])  # fmt: skip
    assert count == 200
    page = report(tmp_path, str(tmp_path / "runs.csv"), *ISOFLOP)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;0" in page
    assert "<b>$" not in page
    assert page.count("<tr>") > 200
    assert len(page) < 2e6


@pytest.mark.slow
def test_many_curves_stay_a_small_page(tmp_path):
    runs = isoflops(num_budgets=5, sizes=40)
    with (tmp_path / "curves.csv").open("w") as file:
        file.write("run,step,params,tokens,flops,loss\n")
        for place in range(len(runs)):
            for share in np.linspace(0.01, 1, 120):
                of = (runs.params[place], share * runs.tokens[place], share * runs.flops[place])
                loss = runs.loss[place] * (2 - share)
                file.write(f"r{place},{share * 1000:.0f},{','.join(map(str, of))},{loss}\n")
    page = report(tmp_path, str(tmp_path / "curves.csv"), "--methods", "repetition")
    assert len(page) < 3e6
    assert len(thinned(isoflops(sizes=200))) == MOST_DOTS
    assert "over-hours" not in page.split("</style>")[1]


def test_places_that_hold_no_runs_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    kinds = sources(Reading(), None)
    with pytest.raises(ConfigError, match="is not a run directory, nor a directory of a sweep, nor a table"):
        read_all([str(tmp_path / "empty")], kinds)
    with pytest.raises(ConfigError, match="does not exist"):
        read_all([str(tmp_path / "nowhere")], kinds)
    write_table(tmp_path / "runs.csv")
    (tmp_path / "t5lite-quickstart").mkdir()
    (tmp_path / "t5lite-quickstart" / "results.json").write_text("{}")
    mixed = [str(tmp_path / "runs.csv"), str(tmp_path / "t5lite-quickstart")]
    assert main(["report", *mixed]) == 2
    assert "give it alone" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        given = [str(tmp_path / "runs.csv"), "--output", str(tmp_path / "mine"), *more]
        assert main(["report", *given]) == 2
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_report_is_replaced_only_when_asked_for(tmp_path, capsys):
    write_table(tmp_path / "runs.csv")
    words = ["report", str(tmp_path / "runs.csv"), "--methods", "isoflop", "--resamples", "20"]
    words += ["--output", str(tmp_path / "out")]
    assert main(words) == 0
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_what_stands_beside_a_line_is_text_and_not_changed():
    label = "<script>--> fill: #0072b2; font: 9px x; $y 5.0925"
    with plain_text():
        figure, axes = canvas(LIGHT, height=2.0, xlabel="x", ylabel="y")
        axes.plot([1, 2], [1, 2], color=LIGHT.blue)
        label_right(axes, [(label, 1.5, LIGHT.blue)])
        drawn = themed_svg(figure, name="f", says='"a"')
    assert "<script" not in drawn
    assert unescape(re.sub("<[^>]*>", "\n", drawn)).count(label) == 1
    assert "var(--c0072b2)" in drawn
    assert 'aria-label="&quot;a&quot;"' in drawn


def test_a_pale_area_stays_as_pale():
    figure, axes = canvas(LIGHT, height=2.0, xlabel="x", ylabel="y")
    axes.fill_between([1, 2], 1, 2, color=LIGHT.blue, alpha=0.15)
    assert "opacity: 0.15" in themed_svg(figure, name="f", says="")


@given(st.floats(1e-3, 1e30), st.floats(1.0, 1e12))
def test_ticks_are_few_round_and_inside(low, factor):
    ticks = decades(low, low * factor)
    assert 2 * (factor > 1.02) <= len(ticks) <= 6
    assert all(low * 0.97 <= tick <= low * factor * 1.03 for tick in ticks)
    assert len({short(tick) for tick in ticks}) == len(ticks)


def test_nothing_is_said_of_runs_that_have_all(tmp_path):
    run = read_run(write_run(tmp_path / "r", [train(30, 4.0), evaluation(30, 3.9)]))
    assert remarks([run]) == []
