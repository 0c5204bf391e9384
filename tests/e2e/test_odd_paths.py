"""A run works in a directory whose name means something to a glob, from its first save to its export."""

import shutil
from pathlib import Path

import pytest

from t5lite.cli.main import main


@pytest.mark.slow
def test_runs_in_directories_with_brackets_are_resumed_exported_and_imported(
    train_arguments: list[str], pretrained: Path, tmp_path: Path, capfd
):
    run, hf, imported = (tmp_path / "a [1]*?" / name for name in ("lr[3e-4]", "hf[3e-4]", "im[p]ort%41"))
    shutil.copytree(pretrained, run)
    assert main([*train_arguments, "--run-dir", str(run), "--training.total-steps", "41"]) == 0
    assert "resuming from step 40 of " in capfd.readouterr().err
    assert main(["export", "--run", str(run), "--output", str(hf)]) == 0
    assert "weights of step 41" in capfd.readouterr().out
    assert main(["import", "--from", str(hf), "--output", str(imported)]) == 0
    assert main(["export", "--run", str(imported), "--output", str(imported.parent / "again")]) == 0
    weights = "model.safetensors"
    assert (hf / weights).read_bytes() == (imported.parent / "again" / weights).read_bytes()
