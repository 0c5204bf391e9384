"""A tiny corpus, prepared through the real command, and a recipe over it that takes seconds to train."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.quickstart import corpus

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
RECIPE = Path(__file__).parent / "tiny_recipe.py"

EXPENSIVE = (
    "t5lite.runner.training.compile_train_step",
    "t5lite.runner.evaluation.heldout_evaluators",
    "t5lite.runner.generation.generate_outputs",
    "t5lite.runner.embedding.TextEmbedder",
)
"""Where everything was accepted and the long work of a command begins."""

Refused = Callable[..., None]
"""(arguments, regular expression of the message, progress=False); see ``refused``."""


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
        *("--evaluations.heldout.store", str(text_data / "heldout")),
    ]


@pytest.fixture(scope="session")
def pretrained(train_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny recipe."""
    run = tmp_path_factory.mktemp("pretrained") / "run"
    assert main([*train_arguments, "--run-dir", str(run)]) == 0
    return run


@pytest.fixture(scope="session")
def bert(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained run of an encoder-only model."""
    run = tmp_path_factory.mktemp("bert") / "run"
    stores = [
        "--data.store",
        str(text_data / "train"),
        "--evaluations.heldout.store",
        str(text_data / "heldout"),
    ]
    steps = ["--training.total-steps", "4"]
    config = str(HERE / "tiny_bert_recipe.py")
    assert main(["train", "--config", config, *stores, "--run-dir", str(run), *steps]) == 0
    return run


def start(arguments: list[str], *, cwd: Path = REPOSITORY, **environment: str) -> subprocess.Popen[str]:
    """Start ``t5lite`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "t5lite.cli.main", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refused(tmp_path: Path, pretrained: Path, text_data: Path, capfd, monkeypatch) -> Refused:
    """Run a command and assert that it was refused by one line, early, and left everything as it was.

    The current directory is the test's own, with a ``file`` and a directory ``full`` in it.
    """
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "file", "precious")
    write(tmp_path / "full" / "file", "precious")

    def too_late(*_, **__):
        raise AssertionError("reached the expensive part")

    for expensive in EXPENSIVE:
        monkeypatch.setattr(expensive, too_late)
    folders = (tmp_path, pretrained, text_data)

    def run(arguments: Sequence[object], message: str, *, progress: bool = False) -> None:
        before = [contents(folder) for folder in folders]
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert code == 2
        assert captured.out == ""
        *earlier, line, end = captured.err.split("\n")
        assert end == ""
        assert progress or not earlier
        line = line.rpartition("\r")[2].strip()  # what the terminal shows: a progress bar was cleared
        assert line.startswith(f"t5lite {arguments[0]}: ")
        assert re.search(message, line), line
        assert [contents(folder) for folder in folders] == before

    return run


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def train(train_arguments: list[str], tmp_path: Path) -> list[str]:
    return [*train_arguments, "--run-dir", str(tmp_path / "run")]


@pytest.fixture
def run_copy(pretrained: Path, tmp_path: Path) -> Path:
    """A run of its own directory that a test may change or damage."""
    return Path(shutil.copytree(pretrained, tmp_path / "run"))


@pytest.fixture
def imported(pretrained: Path, tmp_path: Path) -> Path:
    """A run without configuration, as `import` writes it."""
    run = tmp_path / "imported"
    shutil.copytree(pretrained / "checkpoints", run / "checkpoints")
    for name in ("model.json", "spiece.model"):
        shutil.copy(pretrained / name, run)
    return run


@pytest.fixture(scope="session")
def other_data(text_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same text under another vocabulary."""
    output = tmp_path_factory.mktemp("other") / "prepared"
    text = str(text_data.parent / "austen.txt")
    options = ["--vocabulary-size", "400", "--heldout-fraction", "0.1"]
    assert main(["prepare", "text", "--inputs", text, "--output", str(output), *options]) == 0
    return output


@pytest.fixture(scope="session")
def exported(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "hf"
    assert main(["export", "--run", str(pretrained), "--output", str(folder)]) == 0
    return folder
