"""Every command over a small world of real files, and what users do to words and files without meaning to."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.conftest import EXPENSIVE, RECIPE

_STORES = ["--data.store", "data/train", "--evaluations.heldout.store", "data/heldout"]
_VOCABULARY = ["--vocabulary", "data/vocabulary/spiece.model"]
_HELD_OUT = ["--heldout-fraction", "0.2"]

COMMANDS: dict[str, list[str]] = {
    "prepare text": ["prepare", "text", "--inputs", "texts", "--output", "out", *_VOCABULARY, *_HELD_OUT],
    "prepare files": [
        *("prepare", "text", "--inputs", "texts/a.txt", "texts/b.jsonl", "--output", "out"),
        *(*_VOCABULARY, *_HELD_OUT, "--seed", "3"),
    ],
    "prepare pairs": [
        *("prepare", "pairs", "--inputs", "pairs.tsv", "--output", "out", *_VOCABULARY),
        *("--inputs-field", "0", "--targets-field", "1", *_HELD_OUT),
    ],
    "train": ["train", "--config", "recipe.py", *_STORES, "--run-dir", "new"],
    "resume": [
        *("train", "--config", "recipe.py", *_STORES, "--run-dir", "run", "--training.total-steps", "60")
    ],
    "finished": ["train", "--config", "run/config.json", *_STORES, "--run-dir", "run"],
    "fewer steps": [
        *("train", "--config", "recipe.py", *_STORES, "--run-dir", "run", "--training.total-steps", "20")
    ],
    "fine-tune": [
        *("train", "--config", "recipe.py", *_STORES, "--run-dir", "new", "--initialize-from.run", "run")
    ],
    "evaluate": ["evaluate", "--run", "run", "--store", "data/heldout", "--max-examples", "8"],
    "generate": ["generate", "--run", "run", "--text", "It is a truth", "--max-decode-length", "4"],
    "generate from a file": [
        *("generate", "--run", "run", "--input-file", "inputs.txt", "--output-file", "outputs.txt")
    ],
    "export": ["export", "--run", "run", "--output", "out"],
    "import": ["import", "--from", "exported", "--output", "out"],
    "inspect a store": ["inspect-data", "--store", "data/train", "--batches", "2", "--examples", "1"],
    "inspect a recipe": ["inspect-data", "--config", "recipe.py", *_STORES, "--batches", "2"],
    "inspect a run": ["inspect-data", "--run", "run", *_STORES, "--batches", "2"],
    "compile": [
        "compile",
        "--config",
        "recipe.py",
        "--topology",
        "v5e:2x2",
        "--top",
        "3",
        "--html",
        "page.html",
    ],
    "plan": [
        *("plan", "--model", "t5-small", "--chips", "v5e-4", "--global-batch-size", "16", "--no-compile")
    ],
    "export programs": [
        *("export", "--run", "run", "--output", "out", "--format", "stablehlo", "--batch-size", "1"),
        *("--encoder-length", "8", "--decoder-length", "8", "--max-decode-length", "4"),
    ],
    "models": ["models", "--filter", "t5"],
    "report": ["report", "--directory", "quickstart"],
    "quickstart": ["quickstart", "--directory", "quickstart", "--seed", "1"],
}
"""Of each command a call that works in the world of ``build``; a relative path is one of its."""

REACHED = (
    *EXPENSIVE,
    "t5lite.runner.compilation.compile_step",
    "t5lite.cli.plan_command.compile_candidates",
    "t5lite.cli.quickstart_command.run_quickstart",
)
"""Where the long work of all of them begins."""

HOSTILE = [
    *(
        "",
        " ",
        "-",
        "--",
        ".",
        "..",
        "/",
        "~",
        "~nobody/x",
        "no/such/place",
        "data",
        "texts/a.txt",
        "recipe.py",
    ),
    *("-1", "0", "1", "3.7", "1e999", "nan", "inf", "9" * 30, "None", "true", "[]", "{}"),
    *(
        "/dev/null",
        "/proc/self/mem",
        "dangling",
        "loop",
        "folder/loop",
        "x" * 300,
        "a\nb",
        "tab\there",
        "[3e-4]*?",
    ),
    *("\udcff.txt", "💥", "名前", "http://127.0.0.1:9/x", "no-such-scheme://b/x"),
]
"""Words that stand where another was meant."""


def build(world: Path, *, text_data: Path, run: Path, exported: Path) -> None:
    """Make the world; everything in it is small and whole but for two links that lead nowhere."""
    (world / "texts").mkdir(parents=True)
    paragraphs = (text_data.parent / "austen.txt").read_text(encoding="utf-8").split("\n\n")[:40]
    (world / "texts" / "a.txt").write_text("\n\n".join(paragraphs[:20]), encoding="utf-8")
    rows = "".join(f'{{"text": "line {number} of it"}}\n' for number in range(20))
    (world / "texts" / "b.jsonl").write_text(rows, encoding="utf-8")
    pairs = "\n".join(f"question {'m' * number}\tanswer {'n' * (number % 7)}" for number in range(60))
    (world / "pairs.tsv").write_text(pairs, encoding="utf-8")
    (world / "inputs.txt").write_text("It is a truth\nuniversally\n", encoding="utf-8")
    shutil.copy(RECIPE, world / "recipe.py")
    shutil.copytree(text_data, world / "data")
    shutil.copytree(run, world / "run")
    shutil.copytree(exported, world / "exported")
    (world / "folder").mkdir()
    (world / "dangling").symlink_to("nowhere")
    (world / "loop").symlink_to("loop")
    (world / "folder" / "loop").symlink_to(".")


def files_read(words: list[str], world: Path, *, suffix: str = "") -> list[str]:
    """Return the regular files of a world that a command names, or that lie where it names, by name."""
    names = (
        path.relative_to(world).as_posix()
        for path in world.rglob(f"*{suffix}")
        if path.is_file() and not path.is_symlink()
    )
    return sorted(
        name for name in names if any(name == word or name.startswith(f"{word}/") for word in words)
    )


READING = COMMANDS.keys() - {"plan", "models", "report", "quickstart"}
"""The commands that read files of the world."""


@dataclass(frozen=True)
class Replaced:
    """A word stands where another was meant."""

    place: int
    word: str

    def __call__(self, words: list[str]) -> list[str]:
        place = 1 + self.place % (len(words) - 1)
        return [*words[:place], self.word, *words[place + 1 :]]


@dataclass(frozen=True)
class Dropped:
    """A word was forgotten."""

    place: int

    def __call__(self, words: list[str]) -> list[str]:
        place = 1 + self.place % (len(words) - 1)
        return words[:place] + words[place + 1 :]


@dataclass(frozen=True)
class Inserted:
    """A word too many."""

    place: int
    word: str

    def __call__(self, words: list[str]) -> list[str]:
        place = 1 + self.place % len(words)
        return [*words[:place], self.word, *words[place:]]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 16
    path.write_bytes(content)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _become_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _holds(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "cut": _cut,
    "a flipped bit": _flip,
    "a directory": _become_directory,
    "a dangling link": _dangle,
    "a looping link": _loop,
    "empty": _holds(b""),
    "a list": _holds(b"[]"),
    "an object": _holds(b"{}"),
    "null": _holds(b"null"),
    "a number": _holds(b"1e999"),
    "deep": _holds(b"[" * 100_000),
    "binary": _holds(b"\xff\xfe\0\x80" * 8),
    "a pointer": _holds(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
    "text": _holds("Füllwörter\n".encode()),
}
"""What happens to a file."""


VALUES = [None, True, 0, -1, 1, 2.5, 1e300, 10**30, "", "x", "\udcff", "/", [], [[]], {}, {"type": "x"}]
"""What may stand in JSON where something else was meant."""


@dataclass(frozen=True)
class Rewritten:
    """A value somewhere in a JSON file is another one, or an object has lost or won a field."""

    place: int
    value: Any

    def __call__(self, path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        places = list(_places(content))
        if places:
            holder, key = places[self.place % len(places)]
            holder[key] = self.value
        path.write_text(json.dumps(content), encoding="utf-8")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (holder, key or index) of every value in ``value``."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(min(len(value), 8)):
            yield value, key
            yield from _places(value[key])


def snapshot(folder: Path) -> dict[str, object]:
    """Return what is in a folder: content of files, targets of links."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = os.fspath(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = "folder"
        else:
            with contextlib.suppress(OSError):
                found[name] = path.read_bytes()
    return found
