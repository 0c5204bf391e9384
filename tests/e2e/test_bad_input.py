"""Wrong commands, flags, texts and recipes: one line with the remedy, exit code 2, nothing written."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from t5lite.cli.main import main
from tests.e2e.conftest import RECIPE, REPOSITORY, Refused, write


def test_an_unknown_command_gets_a_suggestion(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err.startswith("t5lite: unknown command 'trian'; did you mean 'train'?")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "text", "--input", "a.txt", "--output", "b"], "--inputs"),
        (["export", "--run", "a", "--output", "b", "--dtype", "int8"], "bfloat16"),
        (["evaluate"], "--run"),
        (["train", "--config", str(RECIPE), "--training.total-step", "4"], "--training.total-steps"),
        (["train", "--config", str(RECIPE), "--training.total-steps", "many"], "'many'"),
        (["train", "--config", str(RECIPE), "--partitioning.style", "fdsp"], "tensor_parallel"),
        (["train", "--config", str(RECIPE), "--num-processes", "two"], "'two'"),
        (["train", "--config", str(RECIPE), "--seed"], "--seed"),
        (["prepare"], "{text, pairs, task}"),
        (["prepare", "texts"], "text, pairs"),
        (["models", "--fliter", "t5"], "perhaps you meant: --filter"),
        (["plan"], "--chips"),
        (["inspect-data", "--config", str(RECIPE), "--data.input-length", "9"], "--data.inputs-length"),
    ],
)
def test_a_wrong_flag_is_explained_in_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(rf"t5lite {arguments[0]}: [^\n│╭╰]+\n", captured.err)
    assert message in captured.err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", r"empty\.txt contains no text; check the inputs"),
        ("blank.txt", b"\n  \n\n", r"blank\.txt contains no text"),
        ("binary.txt", b"good\n\x89PNG\0\0\n", r"binary\.txt:2 contains a NUL byte, so it is binary"),
        ("utf16.txt", "text\n".encode("utf-16"), r"utf16\.txt:1 .*UTF-16"),
        ("latin.txt", b"good\n\ncaf\xe9\n", r"latin\.txt:3 is not valid UTF-8 .*--on-invalid-utf8 replace"),
        ("table.csv", b"a,b\n", r"table\.csv:1 has no column 'text' in its header"),
        ("table.pdf", b"a,b\n", r"table\.pdf has an unknown type; allowed: \.txt, \.jsonl"),
        ("plain.txt.gz", b"not compressed", r"plain\.txt\.gz is damaged or not really \.gz"),
        ("cut.txt.gz", gzip.compress(b"some text\n" * 99, mtime=0)[:-9], r"cut\.txt\.gz is damaged"),
        ("empty.txt.zst", b"", r"empty\.txt\.zst contains no text"),
        ("field.jsonl", b'{"txt": "a"}\n', r"field\.jsonl:1 has no field 'text'; it has 'txt'"),
        # In the second line: by then SentencePiece is reading, whose own errors must not hide ours.
        ("second.jsonl", b'{"text": "a"}\nnonsense\n', r"prepare: /.*second\.jsonl:2 is not valid JSON"),
        ("number.jsonl", b'{"text": 3}\n', r"number\.jsonl:1 field 'text' is of type int, not a string"),
        ("column.tsv", b"a\tb\nc\td\n", r"column\.tsv:1 has no column 'text' in its header \('a', 'b'\)"),
    ],
)
def test_text_that_cannot_be_read(name, content, message, refused: Refused, tmp_path: Path):
    source = write(tmp_path / name, content)
    output = tmp_path / "prepared"
    refused(["prepare", "text", "--inputs", source, "--output", output, "--vocabulary-size", 50], message)


def test_invalid_utf8_is_replaced_on_request(text_data: Path, tmp_path: Path):
    source = write(tmp_path / "latin.txt", b"good\n\ncaf\xe9\n")
    vocabulary = text_data / "vocabulary" / "spiece.model"
    options = ["--vocabulary", str(vocabulary), "--heldout-fraction", "0", "--on-invalid-utf8", "replace"]
    arguments = ["prepare", "text", "--inputs", str(source), "--output", str(tmp_path / "out"), *options]
    assert main(arguments) == 0
    counts = json.loads((tmp_path / "out" / "prepare.json").read_text())["stores"]["train"]
    assert counts["examples"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--inputs", "missing.txt"], r"missing\.txt does not exist; check the path"),
        (["--inputs", "."], r"\. has no files of a known type \(2 of other types"),
        (["--vocabulary", "no.model"], r"cannot read the vocabulary no\.model .*give the path"),
        (["--vocabulary", __file__], r"test_bad_input\.py is not a SentencePiece model"),
        (["--heldout-fraction", 1.5], r"heldout_fraction=1\.5 must be at least 0 and below 1"),
        (["--seed", -1], r"seed=-1 must be in 0\.\."),
        (["--output", "file"], r"file is a file; give the name of a directory"),
        (
            ["--output", "file/new"],
            r"directory file cannot be made \(a file is in its place\)",
        ),
        (["--output", "/proc/nowhere"], r"cannot write /proc/nowhere \(No such file"),
        (["--output", "full"], r"exists and is not empty; choose another directory, or .*--overwrite"),
        (["--output", "full", "--overwrite"], r"has no prepare\.json, so it was not written by this"),
    ],
)
def test_prepare_options(options, message, refused: Refused, text_data: Path, tmp_path: Path):
    source = text_data.parent / "austen.txt"
    arguments = ["prepare", "text", "--output", tmp_path / "new", "--vocabulary-size", 500]
    if "--inputs" not in options:
        arguments += ["--inputs", source]
    refused([*arguments, *options], message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--vocabulary-size", 50_000],
            r"vocabulary_size=50000 is too large .*use vocabulary_size=\d+ or less",
        ),
        (["--vocabulary-size", 5], r"vocabulary_size=5 is too small: .*use vocabulary_size=\d+ or more"),
    ],
)
def test_a_vocabulary_that_the_text_does_not_support(
    options, message, refused: Refused, text_data: Path, tmp_path: Path
):
    source = text_data.parent / "austen.txt"
    arguments = ["prepare", "text", "--inputs", source, "--output", tmp_path / "new", *options]
    refused(arguments, message, progress=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.txt", b"words\n", r"text\.txt has no fields to take pairs from; give \.jsonl or \.tsv"),
        ("header.tsv", b"a\tb\nc\td\n", r"header\.tsv:1 has no column 'inputs' .*give a number"),
        (
            "short.tsv",
            b"inputs\ttargets\na\n",
            r"short\.tsv:2 and 1 of 1 rows in all have more than the 2 columns",
        ),
        ("field.jsonl", b'{"inputs": "a"}\n', r"field\.jsonl:1 has no field 'targets'; it has 'inputs'"),
        (
            "number.jsonl",
            b'{"inputs": "a", "targets": 3.0}\n',
            r"number\.jsonl:1 field 'targets' is of type float",
        ),
    ],
)
def test_pairs_that_cannot_be_read(name, content, message, refused: Refused, text_data: Path, tmp_path: Path):
    source = write(tmp_path / name, content)
    vocabulary = ["--vocabulary", text_data / "vocabulary" / "spiece.model"]
    # That sentinels are added to the pieces is said before.
    words = ["prepare", "pairs", "--inputs", source, "--output", tmp_path / "new", *vocabulary]
    refused(words, message, progress=True)


LIMITED = """
import resource, sys
from t5lite.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["prepare", "export", "import"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    command, text_data: Path, pretrained: Path, exported: Path, tmp_path: Path
):
    """A limit on file sizes stands for the full disk: the operating system refuses a write half-way."""
    options = {
        "prepare": ["text", "--inputs", text_data.parent / "austen.txt", "--vocabulary-size", 500],
        "export": ["--run", pretrained],
        "import": ["--from", exported],
    }
    arguments = [command, *options[command], "--output", tmp_path / "new"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": ""},  # it must not get cut-off entries
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.rstrip("\n").rpartition("\n")[2]
    assert re.fullmatch(rf"t5lite {command}: .*File too large.*; check free space.*", last)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("syntax.py", "def config(:", r"recipe /.*syntax\.py is not valid Python: .*line 1"),
        ("binary.py", b"\0\1", r"binary\.py is not valid Python"),
        ("without.py", "x = 1", r"without\.py does not define config\(\); it must return a RunConfig"),
        (
            "type.py",
            "def config():\n    return 3",
            r"type\.py: config\(\) returned int; it must return a RunC",
        ),
        ("arguments.py", "def config(a):\n    pass", r"arguments\.py: TypeError: .*missing 1 required"),
        ("raises.py", "def config():\n    return {}['x']", r"raises\.py, line 2: KeyError: 'x'"),
        (
            "imports.py",
            "\nimport no_such_module",
            r"imports\.py, line 2: ModuleNotFoundError: .*no_such_module",
        ),
        (
            "value.py",
            "from t5lite.training.config import TrainingConfig\n"
            "def config():\n    return TrainingConfig(total_steps=0, batch_size=1)",
            r"value\.py, line 3: training\.total_steps=0 must be 1 or more",
        ),
        ("exits.py", "import sys\nsys.exit(0)", r"exits\.py ends the program \(SystemExit: 0\); it must"),
        ("recipe.yaml", "a: 1", r"has the suffix '\.yaml'; allowed: \.py, \.json"),
        ("list.json", "[]", r"list\.json: \[\] is not an object with the fields of RunConfig"),
        ("broken.json", "{", r"broken\.json is not JSON: .*line 1"),
        ("binary.json", b"\xff\xfe\0", r"binary\.json is not UTF-8 text"),
        ("missing.py", None, r"missing\.py does not exist; recipes are \.py files"),
    ],
)
def test_recipes(name, content, message, refused: Refused, tmp_path: Path):
    if content is not None:
        write(tmp_path / name, content)
    refused(["train", "--config", tmp_path / name], message)


def test_a_recipe_is_asked_for(refused: Refused, tmp_path: Path):
    refused(["train", "--run-dir", tmp_path / "run"], "give a recipe by --config RECIPE")
    refused(["train", "--config", tmp_path], "is a directory; recipes are .py files")


def test_quickstart_directories(refused: Refused, tmp_path: Path):
    mine = write(tmp_path / "mine" / "precious.txt", "precious")
    refused(["quickstart", "--directory", mine.parent], "is not empty and not a quickstart's; choose another")
    refused(["quickstart", "--directory", mine.parent, "--overwrite"], "is not a quickstart's .*not deleted")
    refused(["quickstart", "--directory", mine], "is a file; choose another --directory")
    refused(["quickstart", "--directory", mine / "new"], "cannot be made")
    refused(
        ["quickstart", "--directory", tmp_path / "new", "--recipe", "one"], "unknown recipe 'one'; .*one-hour"
    )
    refused(["quickstart", "--directory", tmp_path / "new", "--seed", -1], r"seed=-1 must be in 0\.\.")
    write(tmp_path / "other" / "quickstart.json", "{}")
    write(tmp_path / "damaged" / "quickstart.json", "{")
    for name in ("other", "damaged"):
        refused(["quickstart", "--directory", tmp_path / name], "another recipe, seed .*--overwrite")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read /.*results\.json \(No such file .*run t5lite quickstart"),
        ("{", r"cannot read /.*results\.json \(.*run t5lite quickstart"),
        ("[]", r"does not hold 't5lite quickstart results"),
        ('{"format": "t5lite quickstart results 1", "results": null}', r"does not hold"),
        ('{"format": "t5lite quickstart results 1", "results": {}}', r"is damaged: required field missing"),
    ],
)
def test_report_without_results(content, message, refused: Refused, tmp_path: Path):
    if content is not None:
        write(tmp_path / "results.json", content)
    refused(["report", "--directory", tmp_path], message)
