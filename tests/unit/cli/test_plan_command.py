"""``t5lite plan`` without the compiler."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.cli.planned_recipes import load_base
from t5lite.core.python_source import python_source
from t5lite.partitioning import PartitioningConfig
from t5lite.planning.predicted.remat import remat_names

RECIPE = Path(__file__).parents[2] / "e2e" / "tiny_recipe.py"
PLANNED = ["plan", "--config", str(RECIPE), "--chips", "v5e-16", "--global-batch-size", "32", "--no-compile"]

SMALL = ["plan", "--model", "t5-1.1-small", "--chips", "v5e-16", "--global-batch-size", "128", "--no-compile"]


def test_it_prints_ways_and_recipe_lines(capsys: pytest.CaptureFixture[str]):
    assert main(SMALL) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("t5-1.1-small on v5e:4x4, 16 chips, 128 rows of 512 + 114 tokens, adamw")
    assert "dropped: slower than another way, and larger" in printed
    assert "partitioning=r.PartitioningConfig(fsdp=16)," in printed
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
    assert first["recipe"][-1] == 'trainable=("*/cross_attention", "!*/key")'
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
        ({"--global-batch-size": str(2**31)}, "--global-batch-size 2147483648 must be at most 2147483647"),
        ({"--decoder-length": str(2**31)}, "--decoder-length 2147483648 must be at most 2147483647"),
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


def test_a_recipe_is_written_that_is_its_base_in_the_way_that_is_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The command at the top of the file makes the same file again."""
    path = tmp_path / "made" / "planned.py"
    words = [*PLANNED, "--write", str(path), "--overwrite", "--optimizer.decay-exponent", "0.7", "--json"]
    assert main(words) == 0
    printed = capsys.readouterr()
    shown = json.loads(printed.out)
    assert printed.err.splitlines()[-1] == f"wrote {path}"
    base = run_config.load(RECIPE, ["--optimizer.decay-exponent", "0.7", "--training.batch-size", "32"])
    made, chosen = run_config.load(path), shown["chosen"]
    assert made == dataclasses.replace(
        base,
        execution=dataclasses.replace(base.execution, remat=chosen["remat"]),
        step=dataclasses.replace(base.step, num_microbatches=chosen["num_microbatches"]),
        partitioning=PartitioningConfig(style=chosen["style"], **chosen["mesh"]),
        evaluations={
            name: dataclasses.replace(each, batch_size=made.evaluations[name].batch_size)
            for name, each in base.evaluations.items()
        },
    )
    shards = chosen["mesh"]["replica"] * chosen["mesh"]["fsdp"]
    assert all(each.batch_size % shards == 0 for each in made.evaluations.values())
    text = path.read_text()
    header = " ".join(text.replace("\\\n", "").split())
    assert (
        f"t5lite {' '.join(words[:-1])} t5lite compile --config {path} --topology v5e:4x4 t5lite train"
        in header
    )
    assert "ways the fastest by prediction, not compiled: predicted are" in header
    assert "which has 8 rows a step: learning rate, warm-up and number of steps were not" in header
    assert main(words[:-1]) == 0
    assert path.read_text() == text
    capsys.readouterr()
    assert main([word for word in words if word != "--overwrite"]) == 2
    assert "is there already; give another name, or --overwrite" in capsys.readouterr().err


def test_the_options_make_of_the_recipe_what_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Also of one whose mesh is another, which names what remat keeps, and has rules and compiler options."""
    path = tmp_path / "recipe.py"
    partitioning = (
        'r.PartitioningConfig(style="sequence_parallel", replica=2, sequence=2, tensor=2, fsdp=4, '
        'extra_rules=(("parameters.vocab", None),), compiler_options=(("xla_x", "1"),))'
    )
    execution = 'r.Execution(remat="offload", remat_names=("query",))'
    chosen = f"execution={execution}, partitioning={partitioning}"
    path.write_text(RECIPE.read_text().replace("data=", f"{chosen}, data=", 1))
    assert main(["plan", "--config", str(path), "--chips", "v5e-8", "--no-compile", "--json"]) == 0
    for each in json.loads(capsys.readouterr().out)["predicted"]:
        config = run_config.load(path, shlex.split(each["options"]))
        assert config.partitioning.sizes == each["mesh"]
        assert config.partitioning.style == each["style"]
        assert config.partitioning.extra_rules == (("parameters.vocab", None),)
        assert config.partitioning.compiler_options == (("xla_x", "1"),)
        assert config.execution.remat == each["remat"]
        assert config.execution.remat_names == remat_names(each["remat"])
        assert f"remat_names={python_source(config.execution.remat_names)}" in each["recipe"]


def test_the_recipe_s_own_microbatches_need_not_divide_the_batch_that_is_planned_for(tmp_path: Path):
    path = tmp_path / "recipe.py"
    path.write_text(RECIPE.read_text().replace("data=", "step=r.StepConfig(num_microbatches=8), data=", 1))
    base = load_base(str(path), [], model=None, batch_size=12)
    assert (base.batch_size, base.config.training.batch_size) == (8, 12)
    assert load_base(str(path), [], model=None, batch_size=None).config.step.num_microbatches == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--write", "made.txt"], r"made\.txt has the suffix '\.txt'; a recipe's is \.py"),
        (["--write", "folder.py"], "is a directory"),
        (["--write", "file/made.py"], "file"),
        (["--write", "gx://bucket/made.py"], "scheme 'gx'"),
        (["--write", "notes.py"], "is there already; give another name, or --overwrite"),
        (["--write", "notes.py", "--overwrite"], r"notes\.py is there and no recipe \(it defines no config"),
        (["--write", "data.py", "--overwrite"], r"data\.py is there and no recipe"),
        (["--overwrite"], "--overwrite is of the file that --write names"),
        (["--partitioning.tensor", "2"], "--partitioning.tensor is what plan chooses"),
        (["--execution.remat=full"], "--execution.remat is what plan chooses"),
        (["--training.batch-size", "2"], "say --global-batch-size"),
        (["--global-batch-size", "0"], "must be 1 or more"),
        (["--optimizer", "muon"], "--optimizer muon: the recipe says it"),
        (["--encoder-length", "8"], "--data.inputs-length"),
        (["--model", "t5-1.1-smal"], "did you mean 't5-1.1-small'"),
        (["--trainable", "decodr"], "matches none"),
        (["--optimiser.b2", "1"], "unrecognized options: --optimiser.b2"),
    ],
)
def test_a_mistake_beside_a_recipe_is_told_before_anything_is_planned(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "notes.py").write_text("import os\n")
    (tmp_path / "data.py").write_bytes(b"\xff\x00")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("t5lite.cli.plan_command.search", None)
    assert main(["plan", "--config", str(RECIPE), "--chips", "v5e-16", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert before == {path: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("name", ["own.py", "link.py"])
def test_the_recipe_that_is_planned_from_is_not_replaced(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.py"
    own.write_text(RECIPE.read_text())
    (tmp_path / "link.py").symlink_to(own)
    monkeypatch.setattr("t5lite.cli.plan_command.search", None)
    words = ["--config", "own.py", "--chips", "v5e-16", "--write", name, "--overwrite"]
    assert main(["plan", *words]) == 2
    assert "is own.py, which is read; write to a place apart from it" in capsys.readouterr().err
    assert own.read_text() == RECIPE.read_text()


@pytest.mark.parametrize(
    ("when", "overwrite", "message"),
    [
        ("t5lite.cli.plan_command._compiled", [], "is there already; give another name, or --overwrite"),
        ("t5lite.cli.planned_recipes.make_directory", [], "is there already; give another name"),
        ("t5lite.cli.plan_command._compiled", ["--overwrite"], "is there and no recipe"),
    ],
)
def test_what_was_written_there_while_it_compiled_stays(
    when: str,
    overwrite: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    path = tmp_path / "made.py"
    monkeypatch.setattr(when, lambda *arguments: path.write_text("import os\n") and [])
    assert main([*PLANNED, "--write", str(path), *overwrite]) == 2
    printed = capsys.readouterr()
    assert message in printed.err.splitlines()[-1]
    assert "partitioning=r.PartitioningConfig(" in printed.out
    assert path.read_text() == "import os\n"


def test_a_plan_is_of_a_shape_or_of_a_recipe(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "--chips", "v5e-16", "--global-batch-size", "128"]) == 2
    assert "give --model NAME, a shape of `t5lite models`, or --config RECIPE" in capsys.readouterr().err
    assert main([*SMALL, "--write", "made.py"]) == 2
    assert "--write made.py needs --config RECIPE" in capsys.readouterr().err
    assert main([*SMALL[:5], "--no-compile"]) == 2
    assert "--global-batch-size is missing" in capsys.readouterr().err
    assert main([*SMALL, "--training.total-steps", "3"]) == 2
    assert "--training.total-steps" in capsys.readouterr().err
