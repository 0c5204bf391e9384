"""``~`` is expanded in every path that a command or a recipe takes; nothing else needs a home directory."""

import dataclasses
import importlib
import pwd
from pathlib import Path
from typing import Any

import pytest

from data_pipelines.options import PipelineOptions
from data_pipelines.recipes import english_web
from data_pipelines.stages.evaluation_overlap import EvaluationOverlap
from t5lite import run_config
from t5lite.cli import embed_command, generate_command, serve_command, sweep_command
from t5lite.cli.main import COMMANDS, main
from t5lite.cli.recipe_options import RecipeOptions
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_home
from t5lite.data.pipeline import PairsDataConfig, PretrainingDataConfig
from t5lite.data.prepare import PreparePairsConfig, PrepareTextConfig
from t5lite.tasks.preparing import PrepareTaskConfig

NO_PATHS = {
    *(
        "field",
        "inputs_field",
        "targets_field",
        "prefix",
        "text",
        "format",
        "max_shard_size",
        "language",
        "sizes",
        "ray",
        "evaluations",
    ),
    *("topology", "allow_change", "coordinator_address"),
    *("source_name", "activation", "recipe", "shuffle", "txt_documents", "on_invalid_utf8", "task"),
    *("columns", "constants", "form", "metric", "evaluation", "decoding", "host"),
    *("where", "by", "methods", "chips"),
}
"""Fields of strings that are no paths."""
CLASSES: list[Any] = [
    *(
        importlib.import_module(f"t5lite.cli.{name.replace('-', '_')}_command").Arguments
        for name in COMMANDS
        if name not in ("models", "plan", "launch", "prepare", "inspect-data", "harness")
    ),
    *(RecipeOptions, PrepareTextConfig, PreparePairsConfig, PrepareTaskConfig),
    *(run_config.InitializeFrom, run_config.EvaluationConfig, PairsDataConfig, PretrainingDataConfig),
    *(PipelineOptions, english_web.Options, EvaluationOverlap),
]


OTHERS = {
    "t5lite.cli.compile_command": {"topology": "v5e:2x2"},
    "t5lite.cli.cost_command": {"chips": ("v5e-4",), "price": (1.0,)},
    "t5lite.tasks.preparing": {"task": "translation"},
}
"""Fields that must be given, by module."""


NAMES = (
    (run_config.EvaluationConfig, "source"),
    (serve_command.Arguments, "name"),
    (sweep_command.Arguments, "only"),
    (sweep_command.Arguments, "launch"),
    (generate_command.Arguments, "shard"),
    (embed_command.Arguments, "shard"),
)
"""Fields of text that is the name of something or words of a command, not a path."""


APART = {
    "t5lite.cli.evaluate_command": ("minimal_pairs", "masked_words", "probe"),
    "t5lite.cli.report_command": ("directory",),
}
"""Fields that are given instead of others, by module."""


@pytest.fixture(autouse=True)
def home(monkeypatch) -> str:
    monkeypatch.setenv("HOME", "/home/of/user")
    return "/home/of/user"


def fields_of_paths(kind) -> dict[str, Any]:
    """Return a value that begins with ``~`` for every field that takes a path."""
    values = {}
    for field in dataclasses.fields(kind):
        annotation = str(field.type)
        if field.name in NO_PATHS or not ("str" in annotation or "Path" in annotation):
            continue
        if (kind, field.name) in NAMES:
            continue
        value = Path(f"~/{field.name}") if "Path" in annotation else f"~/{field.name}"
        values[field.name] = (value, type(value)(f"{value}2")) if "tuple" in annotation else value
    return values


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_path_of_commands_and_recipes(kind, home):
    values = fields_of_paths(kind)
    assert values
    others = OTHERS.get(kind.__module__, {})
    apart = {name: values.pop(name) for name in APART.get(kind.__module__, ())}
    beside = {"run": values["run"]} if "run" in values else {}
    for given in (values, *(beside | {name: value} for name, value in apart.items())):
        config = kind(**given, **others)
        for name, value in given.items():
            expanded = str(value).replace("~", home)
            assert str(getattr(config, name)) == expanded
            assert type(getattr(config, name)) is type(value)


def test_run_directories_of_recipes(home):
    recipe = run_config.load(
        Path(__file__).parents[2] / "configs" / "pretrain_laptop.py", ["--run-dir=~/runs/a"]
    )
    assert recipe.run_dir == f"{home}/runs/a"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--config=~/recipe.py"],
        ["compile", "--config=~/recipe.py", "--topology", "v5e:2x4"],
        ["inspect-data", "--config=~/recipe.py"],
        ["inspect-data", "--run=~/run"],
        ["inspect-data", "--store=~/store"],
        ["prepare", "--recipe=~/recipe.py"],
        ["prepare", "text", "--inputs=~/in.txt", "--output=~/out"],
    ],
)
def test_commands_look_there(arguments, home, capsys):
    assert main(arguments) == 2
    assert home in capsys.readouterr().err


def test_what_is_left_alone(home):
    for path in ("gs://bucket/~/x", "./~", "a~", "x/~/y", "~x".replace("~", "./~")):
        assert expand_home(path) == path
    assert expand_home("~") == home
    assert expand_home(Path("~/a")) == Path(home, "a")
    user = pwd.getpwnam("root")
    assert expand_home(f"~{user.pw_name}/a") == f"{user.pw_dir}/a"
    with pytest.raises(ConfigError, match=r"no user 'no-such-user'; .*\./~no-such-user/a if"):
        expand_home("~no-such-user/a")


@pytest.mark.parametrize("flag", ["--inputs", "--output", "--vocabulary"])
def test_an_empty_path_is_not_the_current_directory(flag, home, capsys, monkeypatch, tmp_path):
    """What a shell makes of a variable that is not set."""
    monkeypatch.chdir(tmp_path)
    given = {"--inputs": "a.txt", "--output": "out", "--vocabulary": "bytes", flag: ""}
    assert main(["prepare", "text", *(word for pair in given.items() for word in pair)]) == 2
    assert capsys.readouterr().err.startswith("t5lite prepare: a path is empty: is a shell variable not set?")


@pytest.fixture
def homeless(monkeypatch):
    def no_entry(uid: int):
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)


def test_without_a_home_only_paths_that_begin_with_it_are_refused(homeless, tmp_path, capsys):
    text = tmp_path / "in.txt"
    text.write_text("".join(f"one text of number {number}\n\n" for number in range(30)))
    arguments = ["prepare", "text", f"--inputs={text}", "--vocabulary=bytes", "--heldout-fraction=0"]
    assert main([*arguments, f"--output={tmp_path}/out"]) == 0
    assert main(["inspect-data", f"--store={tmp_path}/out/train", "--batches=1"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--output=~/out"]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("t5lite prepare: ~/out cannot be found: you have no home directory")
    assert "\n" not in message
