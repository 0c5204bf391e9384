"""``t5lite models``: the published shapes by name, with their sizes and costs."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from t5lite.core import command_line
from t5lite.core.architectures import SIDES_OF, has_one_row
from t5lite.core.batch_fields import Side
from t5lite.core.errors import ConfigError
from t5lite.interop import FORMATS
from t5lite.models.config import ModelConfig
from t5lite.models.config.json_form import to_json
from t5lite.models.flops import train_flops_per_token
from t5lite.models.parameter_count import count_parameters
from t5lite.models.presets import PRESETS, preset, source, t5_efficient


def _lengths_of(architecture: str) -> dict[str, int]:
    tokens: dict[Side, int] = {"encoder": 512, "decoder": 1024 if has_one_row(architecture) else 114}
    return {f"{side}_length": tokens[side] for side in SIDES_OF[architecture]}


LENGTHS = {architecture: _lengths_of(architecture) for architecture in SIDES_OF}
"""Lengths at which FLOPs are stated: T5's span corruption, BERT's longest input, GPT-2's context."""
_COLUMNS = ("name", "architecture", "parameters", "FLOPs/token", "formats")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the published shapes, or show the whole configuration of one."""

    name: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="NAME")]] = None
    """Show this one in full."""
    filter: str | None = None
    """List names and architectures that contain this text."""
    json: bool = False
    """Print JSON, with exact numbers and reasons."""
    markdown: bool = False
    """Print the list as docs/models.md has it."""

    def __post_init__(self):
        if self.name is not None and (self.filter is not None or self.markdown):
            raise ConfigError("--filter and --markdown are for the list; leave them out, or NAME")
        if self.filter is not None and not self.filter.strip():
            raise ConfigError(
                "--filter is empty: is a shell variable not set? Without --filter all are listed"
            )
        if self.json and self.markdown:
            raise ConfigError("--json and --markdown are two ways to print the list; leave one out")


def run(arguments: Sequence[str]) -> int:
    """Print every published shape, or all about one, and return 0."""
    known = command_line.parse(
        Arguments,
        arguments,
        prog="t5lite models",
        description=f"{Arguments.__doc__}\n\nFLOPs are those of a train step for each token, at {_lengths()} "
        f"tokens. More names: {t5_efficient.GRAMMAR} (SIZE and CHANGE as in t5-efficient-tiny-nl8; changes "
        f"{', '.join(t5_efficient.CHANGES)}).",
    )
    if known.name is not None:
        config = preset(known.name)
        shown = summary(known.name, config)
        if known.json:
            print(json.dumps({**shown, "config": to_json(config)}, indent=2))
        else:
            print(_in_full(shown, config, source(known.name)))
        return 0
    listed = {name: preset(name) for name in PRESETS}
    rows = [summary(name, config) for name, config in listed.items() if _contains(name, config, known.filter)]
    if not rows:
        raise ConfigError(f"no model contains {known.filter!r}; `t5lite models` lists all of them")
    if known.json:
        print(json.dumps(rows, indent=2))
    elif known.markdown:
        print(_markdown(rows))
    else:
        print(_table(rows))
    return 0


def summary(name: str, config: ModelConfig) -> dict[str, Any]:
    """Return what the list shows of a model, exactly.

    ``formats`` says of every format which directions exist, and why the model does not fit (None if it does).
    """
    lengths = LENGTHS[config.architecture]
    return {
        "name": name,
        "architecture": config.architecture,
        "parameters": count_parameters(config),
        "train_flops_per_token": train_flops_per_token(config, **lengths),
        **lengths,
        "formats": {
            format_name: {
                "export": each.export_folder is not None,
                "import": each.import_folder is not None,
                "why_not": each.fits(config),
            }
            for format_name, each in FORMATS.items()
            if not each.of_adapter
        },
    }


def _contains(name: str, config: ModelConfig, text: str | None) -> bool:
    return text is None or text.lower() in name or text.lower() in _words(config.architecture)


def _words(architecture: str) -> str:
    return architecture.replace("_", "-")


def _lengths() -> str:
    return ", ".join(
        f"{' + '.join(map(str, lengths.values()))} ({_words(architecture)})"
        for architecture, lengths in LENGTHS.items()
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    formats = [name + _direction(each) for name, each in row["formats"].items() if each["why_not"] is None]
    return (
        row["name"],
        _words(row["architecture"]),
        _short(row["parameters"], "KMB"),
        _short(row["train_flops_per_token"], "KMGT"),
        ", ".join(formats) or "none",
    )


def _direction(each: dict[str, Any]) -> str:
    """Return what to add to the name of a format that exists in one direction only."""
    if each["export"] and each["import"]:
        return ""
    return " (export)" if each["export"] else " (import)"


def _short(number: float, units: str) -> str:
    """Return four digits of ``number`` and its unit, each unit a thousand of the one before."""
    power = min(int(math.log10(number)) // 3, len(units))
    scaled = number / 1000**power
    decimals = 3 if scaled < 10 else 2 if scaled < 100 else 1
    return f"{scaled:.{decimals}f}{units[power - 1]}"


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [_COLUMNS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    lines = []
    for name, architecture, parameters, flops, formats in cells:
        numbers = f"{parameters:>{widths[2]}}  {flops:>{widths[3]}}"
        lines.append(f"{name:<{widths[0]}}  {architecture:<{widths[1]}}  {numbers}  {formats}")
    lines += ["", f"FLOPs of a train step for each token, at {_lengths()} tokens"]
    return "\n".join([*lines, f"more names: {t5_efficient.GRAMMAR}, such as t5-efficient-tiny-nl8"])


def _markdown(rows: list[dict[str, Any]]) -> str:
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---|---|---:|---:|---|"]
    for row in rows:
        name, *others = _cells(row)
        lines.append(f"| `{name}` | {' | '.join(others)} |")
    return "\n".join(lines)


def _in_full(shown: dict[str, Any], config: ModelConfig, about: str) -> str:
    lengths = " + ".join(str(value) for value in LENGTHS[shown["architecture"]].values())
    lines = [f"{shown['name']} ({_words(shown['architecture'])})", ""]
    lines += [about, ""]
    lines.append(f"parameters     {shown['parameters']:,}")
    lines.append(f"FLOPs/token    {shown['train_flops_per_token']:.4g} (train step at {lengths} tokens)")
    for name, each in shown["formats"].items():
        lines.append(f"{name:<14} {each['why_not'] or 'fits' + _direction(each)}")
    lines.append("")
    names = [field.name for field in dataclasses.fields(config)]
    width = max(map(len, names))
    lines += [f"{name:<{width}}  {getattr(config, name)}" for name in names]
    return "\n".join(lines)
