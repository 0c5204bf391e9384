"""``t5lite plan`` without the compiler."""

import json
import re

import pytest

from t5lite.cli.main import main

SMALL = ["plan", "--model", "t5-1.1-small", "--chips", "v5e-16", "--global-batch-size", "128", "--no-compile"]


def test_it_prints_ways_and_recipe_lines(capsys: pytest.CaptureFixture[str]):
    assert main(SMALL) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("t5-1.1-small on v5e:4x4, 16 chips, 128 rows of 512 + 114 tokens, adamw")
    assert "dropped: slower than another way, and larger" in printed
    assert "partitioning=PartitioningConfig(style=" in printed
    assert "--partitioning.style" in printed


def test_json_has_every_way_that_is_left(capsys: pytest.CaptureFixture[str]):
    assert main([*SMALL, "--json", "--optimizer", "adafactor"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["plan"].endswith("adafactor")
    assert plan["compiled"] == []
    assert {"step_seconds", "mfu", "memory_bytes", "recipe"} <= set(plan["predicted"][0])


def test_what_is_frozen_is_not_planned_for_and_the_lines_say_so(capsys: pytest.CaptureFixture[str]):
    assert main([*SMALL, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main([*SMALL, "--json", "--trainable", "*/cross_attention", "!*/key"]) == 0
    printed = capsys.readouterr()
    assert "trains 4,718,592 of 76,961,152 parameters, 3 of 29 arrays" in printed.err
    part = json.loads(printed.out)
    assert part["plan"] == f"{whole['plan']}, trainable '*/cross_attention' '!*/key'"
    first = part["predicted"][0]
    assert first["step_seconds"] < 0.7 * whole["predicted"][0]["step_seconds"]
    assert first["recipe"][-1] == "trainable=('*/cross_attention', '!*/key')"
    assert first["options"].endswith(" --trainable '*/cross_attention' '!*/key'")


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        ("bert-base", "rows of 512 tokens"),
        ("gpt2", "rows of 1024 tokens"),
        ("llama2-7b", "rows of 2048 tokens"),
    ],
)
def test_lengths_default_to_the_architecture_s(model: str, rows: str, capsys: pytest.CaptureFixture[str]):
    command = ["plan", "--model", model, "--chips", "v5p-16", "--global-batch-size", "32", "--no-compile"]
    assert main(command) == 0
    assert rows in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--model": "t5-1.1-xxxl"}, "did you mean 't5-1.1-xxl'"),
        ({"--chips": "v5-256"}, "did you mean 'v5"),
        ({"--chips": "v5e-100"}, "use v5e-64 or v5e-128"),
        ({"--chips": "v5p:4x4"}, "3 dimensions"),
        ({"--num-slices": "0"}, "num_slices=0"),
        ({"--global-batch-size": "0"}, "must be 1 or more"),
        ({"--encoder-length": "-1"}, "--encoder-length -1 must be 1 or more"),
        ({"--model": "gpt2", "--encoder-length": "512"}, "gpt2 is decoder-only and has no such side"),
        ({"--model": "gpt2", "--decoder-length": "4096"}, "longer than the 1024 rows"),
        ({"--trainable": "decodr"}, "'decodr' matches none of the 29 arrays; near: decoder"),
        ({"--trainable": "!*"}, "leaves nothing to train"),
        ({"--trainable": ""}, "'' is no pattern"),
        ({"--model": "palm-540b"}, "nothing fits.*use more chips"),
    ],
)
def test_bad_input_is_one_line_with_a_remedy(
    changes: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
):
    options = {"--model": "t5-1.1-small", "--chips": "v5e-16", "--global-batch-size": "128"} | changes
    words = [word for option in options.items() for word in option]
    assert main(["plan", *words, "--no-compile"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("t5lite plan: ")
    assert re.search(message, line), line


def test_a_negative_number_to_compile_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main([*SMALL[:-1], "--compile", "-1"]) == 2
    assert "--compile -1" in capsys.readouterr().err
