"""Whatever is mistyped becomes one line; ``--help`` stays what the parser makes of it."""

import contextlib
import importlib
import io
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import t5lite
from t5lite.cli.main import COMMANDS, main
from t5lite.core import command_line
from t5lite.core.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    steps: int = 3
    """How many."""
    names: tuple[str, ...] | None = None
    """Of what."""


@dataclass(frozen=True)
class Form:
    """A form."""

    run: str
    kind: Literal["one", "two"] = "one"
    inner: Inner = field(default_factory=Inner)
    step: int | Literal["best"] | None = None
    """Of which there is more to say than one line holds; the newest by default."""
    factors: tuple[tuple[str, float], ...] = ()
    """By pattern."""
    rather: Literal["three", "four"] | None = None
    """In its place."""
    dry: Annotated[bool, "a note"] = False
    """Whether to do nothing."""

    def __post_init__(self):
        if self.run == "said":
            print("a notice", file=sys.stderr)
        if self.run == "refused":
            raise ConfigError("run=refused is refused")


def parsed(words):
    return command_line.parse(Form, words, prog="t5lite form")


def test_what_is_right_is_taken():
    assert parsed(["--run", "a", "--inner.steps", "5"]) == Form("a", inner=Inner(5))
    assert command_line.parse_known(Form, ["--run", "a", "--other.steps", "5", "--x=-1"]) == (
        Form("a"),
        ["--other.steps", "5", "--x=-1"],
    )


WORDS = st.one_of(
    st.sampled_from(["--run", "--kind", "--inner.steps", "--inner.step", "two", "3", "--", "-", "-1", "---"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(words=st.lists(WORDS, max_size=5))
def test_a_mistake_is_a_line_and_nothing_is_printed(words):
    """Any mistake is a ``ConfigError``: of a parser that exits, the SystemExit would fail this test."""
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.suppress(ConfigError):
        parsed(words)
    assert not printed.getvalue()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "^missing from t5lite form: --run; see t5lite form --help$"),
        (
            ["--run", "a", "--inner.step", "4"],
            "^unrecognized options: --inner.step, 4; perhaps you meant: --inner.steps; see t5lite form",
        ),
        (
            ["--run", "a", "--inner.steps=x"],
            "^--inner.steps 'x' must be a whole number; see t5lite form",
        ),
        (
            ["--run", "a", "--factors", "a", "x"],
            "^--factors 'a', 'x' must be a word and a number, once or more; see t5lite form",
        ),
        (
            ["--run", "a", "--step", "b'st]"],
            '^--step "b\'st\\]" must be None, a whole number or best; see',
        ),
        (["--run", "a", "--kind", "three"], "'three'.*'one', 'two'"),
        (["--run", "a", "--rather", "x"], "'x'.*one of \\('(three|four)', '(three|four)'\\); see"),
        (["--run", "a", "--inner.steps"], "^--inner.steps needs a value; see t5lite form --help$"),
        (["--inner.steps", "3", "--rnu=a"], "^there is no --rnu; did you mean --run\\?$"),
        (["--run", "a", "--dry=yes"], "^--dry takes no value, such as 'yes'; write --dry alone, or leave it"),
        (["--no-dry"], "^missing from t5lite form: --run; see"),
        (["--no-dyr"], "^there is no --no-dyr; did you mean --no-dry\\?$"),
        (["--run", "a", "--no-dry=1"], "^--no-dry takes no value"),
        (["--run", "refused"], "^run=refused is refused$"),
        (
            ["--run", "a", "--factors", "a", "1", "--factors=b", "2"],
            "^--factors is given 2 times; give it once, with all its values behind it: --factors ONE",
        ),
        (["--inner.names", "a", "--inner.names", "b"], "^--inner.names is given 2 times"),
    ],
)
def test_what_is_wrong_is_named(words, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        parsed(words)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("columns", ["40", "200"])
def test_neither_a_terminal_nor_its_width_matters(columns, monkeypatch):
    def line():
        with pytest.raises(ConfigError) as refusal:
            parsed(["--run", "a", "--inner.step", "4"])
        return str(refusal.value)

    plain = line()
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert line() == plain


def test_help_and_what_a_form_says_itself_are_left_alone(capsys):
    with pytest.raises(SystemExit) as stop:
        parsed(["--help"])
    assert not stop.value.code
    assert "usage: t5lite form" in capsys.readouterr().out
    parsed(["--run", "said"])
    assert capsys.readouterr().err == "a notice\n"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "harness"])
def test_a_command_s_options_are_the_fields_of_a_class(name):
    """There is one way to say an option: no command parses by itself; the harness' options are its own."""
    path = Path(t5lite.__file__).parent / "cli" / f"{name.replace('-', '_')}_command.py"
    code = path.read_text(encoding="utf-8")
    assert "command_line.parse" in code
    assert not re.search(r"import argparse|import click|tyro\.cli", code)


def forms() -> dict[str, Any]:
    """Return the form of every command whose options are one class."""
    modules = {
        name: importlib.import_module(f"t5lite.cli.{name.replace('-', '_')}_command") for name in COMMANDS
    }
    return {name: module.Arguments for name, module in modules.items() if hasattr(module, "Arguments")}


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_misspelt_option_is_named_beside_the_right_one_whatever_else_is_missing(data):
    """Of every command, required or not: two letters exchanged, one dropped, one twice."""
    name, form = data.draw(st.sampled_from(sorted(forms().items())), label="command")
    options = dict(command_line.options_of(form))
    option = data.draw(st.sampled_from([each for each in options if len(each) > 5]), label="option")
    place = data.draw(st.integers(3, len(option) - 2), label="place")
    kept, pair = (option[:place], option[place + 2 :]), option[place : place + 2]
    wrong = kept[0] + data.draw(st.sampled_from([pair[::-1], pair[0], pair + pair[1]])) + kept[1]
    if wrong in options:
        return
    kind = {"launch": ["slurm"], "scaling": ["fit"]}.get(name, [])
    arguments = [name, *kind, wrong, "3"]
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        assert main(arguments) == 2
    assert printed.getvalue().count("\n") == 1
    assert option in printed.getvalue()


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_switch_of_any_command_takes_no_value(data):
    """The message is about the switch, not about its value, which would be taken for a word of its own."""
    form = data.draw(st.sampled_from(list(forms().values())), label="form")
    switches = [option for option, hint in command_line.options_of(form) if "bool" in str(hint)]
    if not switches:
        return
    switch = data.draw(st.sampled_from(switches), label="switch")
    value = data.draw(st.sampled_from(["yes", "true", "", "0", "é", "--json"]), label="value")
    with pytest.raises(ConfigError, match=f"^{switch} takes no value, such as "):
        command_line.parse_known(form, [f"{switch}={value}"])
