"""Options as fields of a dataclass; a mistyped one is told like any mistake: one line, a ``ConfigError``."""

import contextlib
import dataclasses
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from t5lite.core.errors import ConfigError

ParsedT = TypeVar("ParsedT")

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile(r"^ *[─╰╯-]{3,}$", re.MULTILINE)
"""Between the sections of a message of tyro's, and its end; of hyphens where the output is not UTF-8."""

_WRONG_VALUE = re.compile(
    r"error parsing (?P<option>--\S+): .*?(?P<value>'.*?'|\".*?\")(?=[\]; ]).*?; argument helptext: "
    r"(?P=option) (?:\[(?P<repeated>[^.\[]+) \[[^.]+\.\.\.\]\]|(?P<kinds>\S+))"
    r"( .*?(?P<see>; for full helptext, see .*)?)?$"
)
"""What tyro says at length of a value that is of none of the kinds that its option takes."""
_NO_VALUE = re.compile(r"missing value for argument '(--[^']+)'\. Expected 1 values")
_LISTS = ("Missing from", "Perhaps you meant", "Arguments similar")
_LISTED = re.compile(r"^ {5,6}(-[^\s,]+)", re.MULTILINE)
"""An option of such a list; what stands below it, further in, is its help."""
_POSITIONAL = "Positional"
"""tyro's note on words that stand for themselves, by its name: only commands that parse by tyro import it."""
_MISSING = "missing from "
_NEAR = 0.75
"""How alike a word and an option are (of difflib) for one to be a misspelling of the other."""
_AS_NEAR = 0.05
"""By how much less a second option is like it, for that to be named, too."""
_WHERE_HELP_IS = re.compile(r"\bfor full helptext, (run:?|see) ")
_CHOICES = re.compile(r"(?<=Expected one of )\(.+\)")
_NONE = re.compile(r"'None', |, 'None'")
"""Among the choices of an option that may be left out: that is what None is."""
_KINDS = {"INT": "a whole number", "FLOAT": "a number", "STR": "a word"}


def parse(form: Any, words: Sequence[str], **settings: Any) -> Any:
    """Return the ``form`` (a dataclass, or a union of some) that ``tyro`` makes of command-line words.

    Args:
      form: what is parsed.
      words: of the command line.
      **settings: of ``tyro.cli``; a description may be broken into lines as a docstring is.

    Raises:
      ConfigError: for a word that is unknown, with a suggestion, a value that cannot be taken or is of a
        switch, a missing option, or one of several values that is there twice, of which tyro takes the last.
      SystemExit: with code 0, after ``--help``.
    """
    import tyro  # only commands that parse by it pay for it

    options = list(options_of(form))
    _refuse_repeated(options, words)
    _refuse_values_of_switches(options, words)
    if "description" in settings:
        paragraphs = re.split(r"\n\s*\n", settings["description"])
        settings["description"] = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(form, args=list(words), **settings)
    except SystemExit as stop:
        if not stop.code:
            raise
        line, said = _one_line(said.getvalue()), io.StringIO()
        if line.startswith(_MISSING):  # and perhaps there, under another name
            refuse_mistyped(words, option_names(form))
        raise ConfigError(line) from None
    finally:
        sys.stderr.write(said.getvalue())


def parse_known(form: type[ParsedT], words: Sequence[str], **settings: Any) -> tuple[ParsedT, list[str]]:
    """Return the form as ``parse`` does, and the words that are none of its options."""
    return parse(form, words, return_unknown_args=True, **settings)


def refuse_mistyped(words: Sequence[str], options: Sequence[str]) -> None:
    """Refuse a word that is none of the options, and nearly one of them.

    Raises:
      ConfigError: naming the option.
    """
    for word in words:
        name = _name(word)
        if not name.startswith("--") or name in options:
            continue
        # A part of a recipe is no misspelling of an option that is whole, such as --model.norm of --model.
        alike = [option for option in options if ("." in option) == ("." in name)]
        if near := get_close_matches(name, alike, n=1, cutoff=_NEAR):
            best = SequenceMatcher(None, near[0], name).ratio()  # --form is as near to --format as to --from
            near = get_close_matches(name, alike, n=2, cutoff=best - _AS_NEAR)
            raise ConfigError(f"there is no {word.partition('=')[0]}; did you mean {' or '.join(near)}?")


def options_of(form: Any, prefix: str = "--") -> Iterator[tuple[str, Any]]:
    """Yield the options of a form (a dataclass, or a union of some), each with its type."""
    kind, filled = _plain(form), {}
    if get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from options_of(member, prefix)
    if dataclasses.is_dataclass(get_origin(kind)):  # a generic one, and what it is of
        kind, filled = (
            get_origin(kind),
            dict(zip(get_origin(kind).__parameters__, get_args(kind), strict=True)),
        )
    if not dataclasses.is_dataclass(kind):
        return
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        hint = hints[field.name]
        if _POSITIONAL in map(str, _notes(hint)):
            continue
        named = [name for each in _notes(hint) if (name := getattr(each, "name", None)) is not None]
        name = (named or [field.name.replace("_", "-")])[0]
        if name:
            yield f"{prefix}{name}", hint
        yield from options_of(filled.get(_plain(hint), hint), f"{prefix}{name}." if name else prefix)


def option_names(form: Any) -> list[str]:
    """Return the options of a form by name, and ``--no-x`` of each switch ``--x``."""
    options = list(options_of(form))
    return list(dict.fromkeys([*(name for name, _ in options), *_switches(options)]))


def options_under(flag: str, words: Sequence[str]) -> list[str]:
    """Return the options among the words that set a part of ``flag``, with ``-`` for ``_``."""
    return [name for name in map(_name, words) if name.startswith(f"{flag}.")]


def value_of(flag: str, words: Sequence[str]) -> str | None:
    """Return the value that the words give to an option, the last of several; None if they give none."""
    value = None
    for place, word in enumerate(words):
        _, equals, given = word.partition("=")
        if _name(word) == flag:
            value = given if equals else next(iter(words[place + 1 :]), None)
    return value


def without_none(words: Sequence[str], purposes: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Take ``--FIELD None`` out of the words: ``tyro`` does not change between a class and None.

    Args:
      words: of the command line.
      purposes: of the fields that may be emptied so, what for.

    Returns:
      The rest, and the fields that are emptied.

    Raises:
      ConfigError: if the words say another value, or more of the field after it.
    """
    rest, emptied = list(words), []
    for field, purpose in purposes.items():
        flag = f"--{field.replace('_', '-')}"
        names = [_name(word) for word in rest]
        if flag not in names:
            continue
        place = names.index(flag)
        end = place + 1 if "=" in rest[place] else place + 2
        if " ".join(rest[place:end]).replace("=", " ").partition(" ")[2] != "None":
            raise ConfigError(f"{flag} takes None, {purpose}")
        if given := options_under(flag, rest[end:]):
            raise ConfigError(f"{flag} None and {given[0]} contradict each other; leave one of them out")
        rest = rest[:place] + rest[end:]
        emptied.append(field)
    return rest, emptied


def _name(word: str) -> str:
    """Return the option that a word names, as it is declared."""
    return word.partition("=")[0].replace("_", "-")


def _refuse_repeated(options: Sequence[tuple[str, Any]], words: Sequence[str]) -> None:
    names = [_name(word) for word in words if word.startswith("--")]
    repeated = {name for name in names if names.count(name) > 1}
    # Not those that are repeated for each value, which are annotated so.
    several = {name for name, hint in options if {tuple, list}.intersection(map(get_origin, _members(hint)))}
    for name in sorted(repeated & several):
        raise ConfigError(
            f"{name} is given {names.count(name)} times; give it once, with all its values behind it: "
            f"{name} ONE ANOTHER"
        )


def _refuse_values_of_switches(options: Sequence[tuple[str, Any]], words: Sequence[str]) -> None:
    switches = _switches(options)
    for word in words:
        name, equals, value = word.partition("=")
        if equals and _name(word) in switches:
            raise ConfigError(
                f"{name} takes no value, such as {value!r}; write {name} alone, or leave it out"
            )


def _switches(options: Sequence[tuple[str, Any]]) -> list[str]:
    switches = [name for name, hint in options if _plain(hint) is bool]
    return [*switches, *map(_negated, switches)]


def _negated(switch: str) -> str:
    """Return ``--part.no-x`` of ``--part.x``, as tyro has it."""
    part, dot, name = switch.removeprefix("--").rpartition(".")
    return f"--{part}{dot}no-{name}"


def _plain(hint: Any) -> Any:
    """Return a type without what it is annotated with."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _notes(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _one_line(box: str) -> str:
    """Return the sections of tyro's box, without its title, which they repeat."""
    _, *rows = (row.lstrip("│").rstrip("│ ") for row in _ANSI.sub("", box).splitlines())
    sections = [_section(section) for section in _RULE.split("\n".join(rows))]
    line = "; ".join(section[0].lower() + section[1:] for section in sections if section)
    line = _NO_VALUE.sub(r"\1 needs a value", _WRONG_VALUE.sub(_short, line))
    line = _CHOICES.sub(lambda choices: _NONE.sub("", choices[0]), line)
    return _WHERE_HELP_IS.sub("see ", line)


def _section(text: str) -> str:
    """Return a section of tyro's box as one line; of options that it lists, the names."""
    heading = text.strip().partition("\n")[0]
    if heading.startswith(_LISTS):
        return f"{heading} {', '.join(_LISTED.findall(text))}"
    return " ".join(text.split()).rstrip(".")


def _short(wrong: re.Match[str]) -> str:
    if wrong["repeated"]:
        words = [_KINDS.get(kind, kind) for kind in wrong["repeated"].split()]
        allowed = f"{' and '.join(words)}, once or more"
    else:
        kinds: list[str] = re.findall(r"[^{}|,]+", wrong["kinds"])
        *others, last = (_KINDS.get(kind, kind) for kind in kinds)
        allowed = f"{', '.join(others)} or {last}" if others else last
    return f"{wrong['option']} {wrong['value']} must be {allowed}{wrong['see'] or ''}"


def pairs(option: str, words: Sequence[str]) -> Mapping[str, str]:
    """Return the second words of an option that takes pairs, by the first ones.

    Raises:
      ConfigError: if a word has nothing behind it, or is there twice.
    """
    if len(words) % 2:
        raise ConfigError(f"--{option} takes pairs; {words[-1]!r} has nothing behind it")
    known = dict(zip(words[::2], words[1::2], strict=True))
    if 2 * len(known) < len(words):
        twice = next(name for place, name in enumerate(words[::2]) if name in words[: 2 * place : 2])
        raise ConfigError(f"--{option} gives {twice!r} twice; give it once")
    return known
