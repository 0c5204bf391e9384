"""Decoder-only and encoder-only models through the same commands as T5."""

import json
import signal
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.training.metrics_log import read_metrics
from t5lite.training.telemetry import Telemetry

HERE = Path(__file__).parent
INTERRUPTED_AFTER = 5


@pytest.fixture(scope="module", params=["gpt", "bert"])
def architecture(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def arguments(architecture: str, text_data: Path) -> list[str]:
    return [
        *("train", "--config", str(HERE / f"tiny_{architecture}_recipe.py")),
        *("--data.store", str(text_data / "train")),
        *("--evaluations.heldout.store", str(text_data / "heldout")),
    ]


@pytest.fixture(scope="module")
def run(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that was terminated on its way and started again."""
    run = tmp_path_factory.mktemp("architecture") / "run"
    record = Telemetry.record

    def terminated(self, step, metrics):
        record(self, step, metrics)
        if step == INTERRUPTED_AFTER:
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Telemetry, "record", terminated)
        assert main([*arguments, "--run-dir", str(run)]) == 128 + signal.SIGTERM
    assert main([*arguments, "--run-dir", str(run)]) == 0
    return run


@pytest.mark.slow
def test_it_learns_across_an_interruption(run: Path):
    entries = [entry for entry in read_metrics(run / "metrics.jsonl") if entry["kind"] == "train"]
    assert [entry["step"] for entry in entries] == list(range(1, 13))
    assert entries[-1]["loss"] < entries[0]["loss"] - 0.3
    assert all(entry["tokens"] == 8 * 32 for entry in entries)


def test_evaluate_measures_what_there_is_to_measure(run: Path, architecture: str):
    assert main(["evaluate", "--run", str(run)]) == 0
    metrics = json.loads((run / "evaluation.json").read_text())["metrics"]
    common = {"loss", "token_accuracy", "perplexity", "unigram"}
    assert set(metrics) == common | (
        {"text_loss", "bits_per_byte", "bigram"} if architecture == "gpt" else {"bits_per_masked_byte"}
    )


def test_generate_continues_or_fills_in(run: Path, architecture: str, capsys):
    text = "She was [MASK] to see him" if architecture == "bert" else "She was"
    options = ["--max-decode-length", "8"]
    assert main(["generate", "--run", str(run), "--text", text, text, "", *options]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == second
    if architecture == "bert":
        assert first.startswith("She was")
        assert first.endswith("to see him")
        assert "<extra_id" not in first
        assert third == ""


def test_what_is_too_long_for_the_position_table_is_refused(run: Path, architecture: str, arguments, capsys):
    """Before parameters are read or compiled: this takes no time."""
    code = main([*arguments, "--run-dir", str(run.parent / "other"), "--data.inputs-length", "64"])
    assert code == 2
    assert "longer than the 48 rows that the learned position table has for it" in capsys.readouterr().err
    assert not (run.parent / "other").exists()
    long = "a " * 60 + ("[MASK]" if architecture == "bert" else "")
    assert main(["generate", "--run", str(run), "--text", long, "--encoder-length", "60"]) == 2
    assert "48 rows that the learned position table has for it; use at most 48" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["data.pack", "data.no-pack"])
def test_a_decoder_only_model_learns_pairs_and_answers(text_data, pair_data, tmp_path, pack, capsys):
    recipe = tmp_path / "pairs.py"
    recipe.write_text(
        "import dataclasses, runpy\n"
        "from t5lite.data.pipeline import PairsDataConfig\n"
        f"make = runpy.run_path({str(HERE / 'tiny_gpt_recipe.py')!r})['config']\n"
        "def config():\n"
        f"    store = {str(pair_data / 'train')!r}\n"
        "    data = PairsDataConfig(store=store, inputs_length=24, targets_length=24)\n"
        "    config = make()\n"
        "    evaluation = dataclasses.replace(config.evaluations['heldout'], task='translation', "
        f"store={str(pair_data / 'heldout')!r})\n"
        "    return dataclasses.replace(config, data=data, evaluations={'heldout': evaluation})\n"
    )
    run = str(tmp_path / "run")
    steps = ["--training.total-steps", "3"]
    assert main(["train", "--config", str(recipe), "--run-dir", run, f"--{pack}", *steps]) == 0
    assert main(["evaluate", "--run", run, "--max-examples", "8"]) == 0
    assert {"loss", "text_loss", "bleu"} <= json.loads((Path(run) / "evaluation.json").read_text())[
        "metrics"
    ].keys()
    assert main(["generate", "--run", run, "--text", "translate: light", "--max-decode-length", "8"]) == 0
