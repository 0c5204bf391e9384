"""Options as fields of a dataclass; a mistyped one is told like any mistake: one line, a ``ConfigError``."""

import contextlib
import dataclasses
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
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
_LISTS = ("Missing from", "Perhaps you meant", "Arguments similar")
_LISTED = re.compile(r"^ {5,6}(-[^\s,]+)", re.MULTILINE)
"""An option of such a list; what stands below it, further in, is its help."""
_WHERE_HELP_IS = re.compile(r"\bfor full helptext, (run:?|see) ")
_KINDS = {"INT": "a whole number", "FLOAT": "a number", "STR": "a word"}


def parse(form: Any, words: Sequence[str], **settings: Any) -> Any:
    """Return the ``form`` (a dataclass, or a union of some) that ``tyro`` makes of command-line words.

    Args:
      form: what is parsed.
      words: of the command line.
      **settings: of ``tyro.cli``; a description may be broken into lines as a docstring is.

    Raises:
      ConfigError: for a word that is unknown, with tyro's suggestion, a value that cannot be taken, a
        missing option, or one of several values that is there twice, of which tyro takes the last.
      SystemExit: with code 0, after ``--help``.
    """
    import tyro  # only commands that parse by it pay for it

    _refuse_repeated(form, words)
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
        box, said = said.getvalue(), io.StringIO()
        raise ConfigError(_one_line(box)) from None
    finally:
        sys.stderr.write(said.getvalue())


def parse_known(form: type[ParsedT], words: Sequence[str], **settings: Any) -> tuple[ParsedT, list[str]]:
    """Return the form as ``parse`` does, and the words that are none of its options."""
    return parse(form, words, return_unknown_args=True, **settings)


def options_under(flag: str, words: Sequence[str]) -> list[str]:
    """Return the options among the words that set a part of ``flag``, with ``-`` for ``_``."""
    names = [word.partition("=")[0].replace("_", "-") for word in words]
    return [name for name in names if name.startswith(f"{flag}.")]


def value_of(flag: str, words: Sequence[str]) -> str | None:
    """Return the value that the words give to an option, the last of several; None if they give none."""
    value = None
    for place, word in enumerate(words):
        name, equals, given = word.partition("=")
        if name.replace("_", "-") == flag:
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
        names = [word.partition("=")[0].replace("_", "-") for word in rest]
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


def _refuse_repeated(form: Any, words: Sequence[str]) -> None:
    names = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    repeated = {name for name in names if names.count(name) > 1}
    for name in sorted(repeated.intersection(_options_of_several(form)) if repeated else ()):
        raise ConfigError(
            f"{name} is given {names.count(name)} times; give it once, with all its values behind it: "
            f"{name} ONE ANOTHER"
        )


def _options_of_several(form: Any, prefix: str = "--") -> Iterator[str]:
    """Yield the options that take several values at once, not those that are repeated for each."""
    if get_origin(form) is Annotated:
        form = get_args(form)[0]
    if get_origin(form) in (Union, UnionType):
        for member in get_args(form):
            yield from _options_of_several(member, prefix)
    if not dataclasses.is_dataclass(form):
        return
    for field, hint in get_type_hints(form, include_extras=True).items():
        option = f"{prefix}{field.replace('_', '-')}"
        members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if any(get_origin(member) in (tuple, list) for member in members):
            yield option
        yield from _options_of_several(hint, f"{option}.")


def _one_line(box: str) -> str:
    """Return the sections of tyro's box, without its title, which they repeat."""
    _, *rows = (row.lstrip("│").rstrip("│ ") for row in _ANSI.sub("", box).splitlines())
    sections = [_section(section) for section in _RULE.split("\n".join(rows))]
    line = "; ".join(section[0].lower() + section[1:] for section in sections if section)
    return _WHERE_HELP_IS.sub("see ", _WRONG_VALUE.sub(_short, line))


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
