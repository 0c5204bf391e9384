"""Shards of a long file: each input once, and what is written is what it is without shards."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.cli import generate_command
from t5lite.cli.main import main
from t5lite.cli.shards import Shard
from t5lite.decoding import GenerationLengths
from t5lite.evaluation.text_generation import Output
from t5lite.runner.generation import Generation
from tests.e2e.conftest import write

ROWS = ["one", "zwölf 日本 🙂", "", "four", "four", "six\u2028six", "seven"]


class Model:
    """Repeats each input with its place among all, killed at one it is told."""

    step, killed_at = 40, -1

    def __call__(self, run, inputs, *, first_index, **_):
        def each():
            for place, text in enumerate(inputs, first_index):
                if place == self.killed_at:
                    raise KeyboardInterrupt
                yield Output(f"{place} {text.upper()}", input_cut=False)

        lengths = GenerationLengths(8, 4, input_limit=10, output_limit=4)
        return Generation(lengths, tuple(map(len, inputs)), False, each(), step=self.step)


@pytest.fixture
def model(monkeypatch):
    found = Model()
    monkeypatch.setattr(generate_command, "start_generation", found)
    return found


@pytest.fixture
def generate(model, tmp_path: Path):
    """Run the command on rows, by default ``ROWS``."""

    def run(*options: str, rows=ROWS, output="o.jsonl") -> int:
        source = write(tmp_path / "in.txt", "".join(f"{row}\n" for row in rows))
        files = ["--input-file", str(source), "--output-file", str(tmp_path / output)]
        return main(["generate", "--run", "run", "--batch-size", "1", *files, *options])

    return run


def test_shards_hold_every_row_once_as_one_file_does(generate, tmp_path: Path):
    assert generate() == 0
    whole = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().split("\n")[:-1]]
    assert [record["input"] for record in whole] == ROWS
    for number in (3, 1, 2):
        assert generate("--shard", f"{number}/3") == 0
    shards = sorted(tmp_path.glob("o-*"))
    assert [shard.name for shard in shards] == [f"o-0000{number}-of-00003.jsonl" for number in (1, 2, 3)]
    joined = "".join(shard.read_text() for shard in shards)
    records = [json.loads(line) for line in joined.split("\n")[:-1]]
    assert records == [{"row": row, **record} for row, record in enumerate(whole, 1)]
    for number in (1, 2, 3):
        assert generate("--shard", f"{number}/3", output="o.txt") == 0
    assert generate(output="whole.txt") == 0
    lines = "".join(shard.read_text() for shard in sorted(tmp_path.glob("o-*.txt")))
    assert lines == (tmp_path / "whole.txt").read_text()


@given(num_inputs=st.integers(0, 300), count=st.integers(1, 40))
def test_blocks_divide_the_inputs_evenly(num_inputs, count):
    blocks = [range(num_inputs)[Shard(number, count).block(num_inputs)] for number in range(1, count + 1)]
    assert [place for block in blocks for place in block] == list(range(num_inputs))
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


def test_a_killed_shard_goes_on(generate, model, tmp_path: Path, capsys):
    assert generate("--shard", "3/3", output="whole.jsonl") == 0
    model.killed_at = 5
    assert generate("--shard", "3/3") == 130
    assert "o-00003-of-00003.jsonl.part; the same command goes on after them" in capsys.readouterr().err
    model.killed_at = -1
    assert generate("--shard", "3/3") == 0
    assert "1 outputs are in " in capsys.readouterr().err
    whole, gone_on = (tmp_path / f"{name}-00003-of-00003.jsonl" for name in ("whole", "o"))
    assert gone_on.read_bytes() == whole.read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_shard_without_rows_is_an_empty_file_and_said(generate, tmp_path: Path, capsys):
    for number in (1, 2, 3):
        assert generate("--shard", f"{number}/3", rows=["a", "b"]) == 0
    path = tmp_path / "o-00001-of-00003.jsonl"
    assert path.read_text() == ""
    assert f"shard 1/3 has none of 2 inputs: {path} is empty" in capsys.readouterr().err
    assert [len(each.read_text().splitlines()) for each in sorted(tmp_path.glob("o-*"))] == [0, 1, 1]


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "1/0", "-1/3", "1/100000", "a/b", "1/3/5", "١/٣", ""])
def test_a_shard_that_there_is_not_is_refused(shard, generate, tmp_path: Path, capsys):
    assert generate(f"--shard={shard}") == 2
    assert f"--shard {shard} must be I/N: shard I of N, both whole numbers" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [*ROWS[:6], "other"]}, "is of other inputs than shard 2/3"),
        ({"options": ["--max-decode-length", "3"]}, "is of other options than shard 2/3"),
        ({"options": ["--run", "another"]}, "is of another run than shard 2/3"),
        ({"step": 50}, "is of another step than shard 2/3"),
    ],
)
def test_shards_of_something_else_beside_one_are_noticed(
    changes, message, generate, model, tmp_path: Path, capsys
):
    model.killed_at = 1
    assert generate("--shard", "1/3") == 130
    model.killed_at, model.step = -1, changes.get("step", 40)
    assert generate("--shard", "2/3", *changes.get("options", []), rows=changes.get("rows", ROWS)) == 2
    assert f"o-00001-of-00003.jsonl.part.json {message}" in capsys.readouterr().err
    assert not list(tmp_path.glob("o-00002*"))
    model.step = 40
    assert generate("--shard", "2/3") == 0
    assert generate("--shard", "1/3") == 0


def test_a_shard_is_gone_on_with_by_that_shard_alone(generate, model, capsys):
    model.killed_at = 1
    assert generate("--shard", "1/3") == 130
    assert generate(output="o-00001-of-00003.jsonl") == 2
    assert "of another shard; move or delete it" in capsys.readouterr().err
