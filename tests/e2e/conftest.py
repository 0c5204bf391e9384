"""A tiny corpus, prepared through the real command, and a recipe over it that takes seconds to train."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.quickstart import corpus

REPOSITORY = Path(__file__).parents[2]
RECIPE = Path(__file__).parent / "tiny_recipe.py"


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return [paragraph.text for paragraph in corpus.austen()[:400]]


@pytest.fixture(scope="session")
def text_data(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output directory of ``t5lite prepare text`` over real paragraphs."""
    directory = tmp_path_factory.mktemp("text")
    (directory / "austen.txt").write_text("\n\n".join(texts), encoding="utf-8")
    output = directory / "prepared"
    arguments = ["--inputs", str(directory / "austen.txt"), "--output", str(output)]
    code = main(["prepare", "text", *arguments, "--vocabulary-size", "500", "--heldout-fraction", "0.1"])
    assert code == 0
    return output


@pytest.fixture(scope="session")
def pair_data(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output directory of ``t5lite prepare pairs`` over real verses, with the text's vocabulary."""
    directory = tmp_path_factory.mktemp("pairs")
    verses = corpus.verses()[:300]
    lines = [f"{verse.english}\t{verse.spanish}" for verse in verses]
    (directory / "verses.tsv").write_text("\n".join(lines), encoding="utf-8")
    output = directory / "prepared"
    code = main(
        [
            *("prepare", "pairs", "--inputs", str(directory / "verses.tsv"), "--output", str(output)),
            *("--inputs-field", "0", "--targets-field", "1", "--prefix", "translate: "),
            *("--vocabulary", str(text_data / "vocabulary" / "spiece.model"), "--heldout-fraction", "0.1"),
        ]
    )
    assert code == 0
    return output


@pytest.fixture(scope="session")
def train_arguments(text_data: Path) -> list[str]:
    """``t5lite train`` over the tiny text; a test adds ``--run-dir``."""
    return [
        *("train", "--config", str(RECIPE)),
        *("--data.store", str(text_data / "train")),
        *("--evaluation.store", str(text_data / "heldout")),
    ]


@pytest.fixture(scope="session")
def pretrained(train_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny recipe."""
    run = tmp_path_factory.mktemp("pretrained") / "run"
    assert main([*train_arguments, "--run-dir", str(run)]) == 0
    return run


def start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    """Start ``t5lite`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "t5lite.cli.main", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
