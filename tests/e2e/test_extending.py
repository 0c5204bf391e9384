"""docs/extending.md is followed to the letter: its files and lines go into a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from t5lite.training.metrics_log import read_metrics
from tests.e2e.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "extending.md"
BLOCKS = re.compile(r"`([\w/]+\.py)`[^\n]*:\n\n```python\n(.*?)```", re.DOTALL)
MESH = ("--partitioning.tensor", "2", "--partitioning.style", "tensor_parallel")


def extended(folder: Path) -> None:
    """Copy the package with what the page adds to it."""
    shutil.copytree(REPOSITORY / "t5lite", folder / "t5lite")
    for name, text in BLOCKS.findall(PAGE.read_text(encoding="utf-8")):
        path = folder / name
        if path.exists():
            assert text.count("\n") == 1, f"{name}: more than one line"
            package = "from " + ".".join(Path(name).parent.parts) + "."
            like = package if text.startswith("from ") else '    "quickstart": '
            text = path.read_text(encoding="utf-8").replace(like, text + like, 1)
        path.write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_the_page_s_files_and_lines_train_write_and_are_counted_and_planned(
    text_data: Path, pair_data: Path, tmp_path: Path
):
    extended(tmp_path)
    (tmp_path / "text").symlink_to(text_data)
    (tmp_path / "pairs").symlink_to(pair_data)

    def start(*arguments: str, devices: int = 1) -> subprocess.Popen:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def output(process: subprocess.Popen) -> str:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err[-4000:]
        return out

    command = ("-m", "t5lite.cli.main")
    train = (*command, "train", "--config", "recipe.py", "--run-dir")
    runs = start(*train, "runs/one"), start(*train, "runs/eight", *MESH, devices=8)
    model = json.loads(output(start(str(REPOSITORY / "tests" / "e2e" / "extended_model.py"))))
    for process in runs:
        output(process)

    first, second = ([row["loss"] for row in losses(tmp_path / "runs" / each)] for each in ("one", "eight"))
    assert len(first) == 2
    assert first == pytest.approx(second, rel=1e-3)
    config = json.loads((tmp_path / "runs" / "one" / "config.json").read_text())
    assert config["model"]["type"] == "LocalGlobalConfig"
    assert config["optimizer"]["type"] == "LionConfig"
    assert config["data"]["sources"][0]["data"]["objective"]["type"] == "Reversal"
    assert "word_f1" in output(start(*command, "evaluate", "--run", "runs/one"))

    counted, made = model["parameters"]
    assert counted == made
    assert f"{counted:,}\n" == output(start(*command, "count", "--config", "recipe.py"))
    # Two of five layers are wide: three kernels, forward and twice backward, 2 FLOPs a parameter.
    assert model["flops_of_a_wider_mlp"] == 2 * 3 * 3 * 2 * 32
    # Four are local: a key more for logits and values of 4 heads of 8.
    assert model["flops_of_a_wider_window"] == 4 * 3 * 2 * 2 * 4 * 8
    assert model["cached"] == model["uncached"]
    assert model["plans"] > 0


def losses(run: Path) -> list[dict]:
    return [row for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "train"]
