"""Mixtures through the real command: trained, resumed with other shares, looked at."""

import json
import re
from pathlib import Path

import pytest

from t5lite.cli.main import main
from tests.e2e.conftest import Refused

RECIPE = Path(__file__).parent / "tiny_mixture_recipe.py"


@pytest.fixture
def train(text_data: Path, pair_data: Path, tmp_path: Path) -> list[str]:
    return [
        *("train", "--config", str(RECIPE), "--run-dir", str(tmp_path / "run")),
        *("--data.sources.0.data.store", str(text_data / "train")),
        *("--data.sources.1.data.store", str(pair_data / "train")),
        *("--evaluations.heldout.store", str(pair_data / "heldout")),
    ]


@pytest.mark.slow
def test_a_mixture_trains_and_goes_on_with_other_shares(train, tmp_path, capsys):
    assert main(train) == 0
    output = "".join(capsys.readouterr())
    assert re.search(r"source text: 75\.00% of the examples, [\d,]+ an epoch\n", output)
    assert re.search(r"source pairs: 25\.00% of the examples, [\d,]+ an epoch, tokens fill \d+% of", output)
    changed = [*train, "--data.sources.0.weight", "1", "--training.total-steps", "6"]
    assert main(changed) == 0
    output = "".join(capsys.readouterr())
    assert "data.sources.text.weight: 3.0 → 1.0" in output
    assert (
        "the mixture changes here: pairs 25.00% → 50.00%, text 75.00% → 50.00%; every source goes on"
        in output
    )
    assert re.search(r"source text: 50\.00% of the examples, [\d,]+ an epoch, 0\.\d\d epochs given", output)
    assert "another order" not in output
    history = json.loads((tmp_path / "run" / "mixture.json").read_text())
    assert [phase["first_position"] for phase in history["phases"]] == [0, 32]
    (tmp_path / "run" / "mixture.json").unlink()  # the checkpoint has it too
    assert main([*changed, "--training.total-steps", "8"]) == 0
    assert "the mixture changes" not in "".join(capsys.readouterr())
    assert json.loads((tmp_path / "run" / "mixture.json").read_text()) == history
    assert main(["evaluate", "--run", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--data.sources.0.weight", "0"], r"the weights \(?\[?0.* must be positive; leave a source out"),
        (["--data.sources.0.weight", "nan"], r"data\.sources\.0\.weight=nan must be a finite number"),
        (
            ["--evaluations.heldout.source", "pears"],
            r"heldout\.source='pears' is no source; did you mean 'pairs'",
        ),
        (["--data.temperature", "2"], r"temperature, scale and max_examples=.* the sources have weights"),
        (
            ["--data.sources.1.data.max-epochs", "1", "--training.total-steps", "4000"],
            r"source 'pairs' with max_epochs=1 of \d+ examples and a share of 25\.00% is \d+ batches of 8",
        ),
        (["--data.sources.1.data.store", "nowhere"], r"source 'pairs': .*nowhere is not a pair store"),
    ],
)
def test_wrong_mixtures(overrides, message, train, refused: Refused):
    refused([*train, *overrides], message)
