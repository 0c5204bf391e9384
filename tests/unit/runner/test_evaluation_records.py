"""A result is shown before it is stored, and kept apart; a batch is no larger than the data."""

import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.cli import evaluate_command
from t5lite.cli.main import main
from t5lite.data.pipeline import evaluation_indices
from t5lite.partitioning import agreed_errors
from t5lite.run_config import EvaluationConfig
from t5lite.runner import heldout_measures
from t5lite.runner.evaluation import Evaluation
from t5lite.runner.evaluation_records import store_evaluation
from t5lite.runner.heldout import Heldout


def result(step=3, store="/data/heldout", loss=1.5, **settings) -> Evaluation:
    return Evaluation("heldout", step, store, 7, {"loss": loss}, settings=settings)


def test_other_steps_stores_and_settings_are_kept_apart(tmp_path: Path):
    results = [
        result(),
        result(step=4),
        result(store="/other/heldout"),
        result(store="gs://bucket/held out/"),
        result(max_examples=8),
        result(max_examples=9),
        result(data={"inputs_length": 8}),
    ]
    paths = [store_evaluation(tmp_path, each) for each in results]
    assert len(set(paths)) == len(results)
    assert [json.loads(path.read_text())["settings"] for path in paths] == [r.settings for r in results]
    assert json.loads((tmp_path / "evaluation.json").read_text())["settings"] == results[-1].settings
    again = store_evaluation(tmp_path, result(loss=2.0))
    assert again == paths[0]
    assert json.loads(again.read_text())["metrics"] == {"loss": 2.0}
    assert sorted((tmp_path / "evaluations").iterdir()) == sorted(paths)


@pytest.mark.parametrize("taken", ["evaluation.json", "evaluations"])
def test_a_result_is_shown_though_it_cannot_be_stored(taken, tmp_path: Path, monkeypatch, capsys):
    """By what stands in the way, which holds for root too; the other of the two is written."""
    monkeypatch.setattr(evaluate_command, "evaluate", lambda *_, **__: iter([result()]))
    if taken == "evaluations":
        (tmp_path / taken).write_text("a file")
    else:
        (tmp_path / taken).mkdir()
    assert main(["evaluate", "--run", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "at step 3, heldout: /data/heldout (7 examples)\n  loss  1.5000\n" in captured.out
    (line,) = captured.err.splitlines()
    assert line.startswith("t5lite evaluate: the result above is not stored: ")
    assert str(tmp_path / taken) in line
    written = [path.name for path in tmp_path.rglob("*.json") if path.is_file()]
    assert len(written) == 1


def test_an_old_file_of_predictions_on_one_host_ends_all_processes(tmp_path: Path, monkeypatch, capsys):
    """This one has no such file; nobody waits for the other, and nothing is measured."""
    asked: list[Any] = []

    def every_process(told: Any) -> list[Any]:
        asked.append(told)
        return [told, [3, "--predictions x.jsonl is there already"]]

    monkeypatch.setattr(agreed_errors.multihost, "every_process", every_process)
    monkeypatch.setattr(evaluate_command, "evaluate", lambda *_, **__: pytest.fail("it went on"))
    file = tmp_path / "x.jsonl"
    assert main(["evaluate", "--run", str(tmp_path / "run"), "--predictions", str(file)]) == 2
    assert capsys.readouterr().err == "t5lite evaluate: process 1: --predictions x.jsonl is there already\n"
    file.write_text("")
    assert main(["evaluate", "--run", str(tmp_path / "run"), "--predictions", str(file)]) == 2
    assert asked == [None, [3, f"--predictions {file} is there already; give another name, or delete it"]]


@given(
    examples=st.integers(1, 200),
    limit=st.none() | st.integers(1, 200),
    batch=st.integers(1, 8),
    devices=st.integers(1, 8),
)
def test_a_batch_is_no_larger_than_the_data(examples, limit, batch, devices):
    configured = batch * devices * 4
    config = EvaluationConfig(store="store", batch_size=configured, max_examples=limit)
    pipeline: Any = SimpleNamespace(evaluated=functools.partial(evaluation_indices, examples))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heldout_measures, "num_data_devices", lambda _: devices)
        found = heldout_measures.clamped_batch_size(Heldout("heldout", config, pipeline), cast(Any, None))
    used = min(examples, limit or examples)
    assert found % devices == 0
    assert found <= configured
    assert found == configured or 0 <= found - used < devices
