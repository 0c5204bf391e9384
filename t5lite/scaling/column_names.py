"""What columns of tables of runs mean, told by their names.

Studies call the same numbers ``N``, ``Model Size``, ``hyperparameters.params`` or ``params_active_precise``.
A usual name is taken first, then one behind a prefix (``optim/n_tokens``), then one of known words alone; of
several that are equally good none is, and the reader is told how to say which.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from t5lite.core.errors import DataError

NAMES: Mapping[str, tuple[str, ...]] = {
    "params": ("params", "parameters", "num_params", "n_params", "num_parameters", "n_parameters", "n"),
    "tokens": ("tokens", "num_tokens", "n_tokens", "training_tokens", "train_tokens", "tokens_seen", "d"),
    "flops": ("flops", "flop", "training_flops", "train_flops", "total_flops", "budget", "compute", "c"),
    "loss": (
        *("loss", "heldout_loss", "eval_loss", "val_loss", "valid_loss", "validation_loss", "test_loss"),
        *("final_loss", "nll", "l"),
    ),
    "unique_tokens": ("unique_tokens", "u"),
    "run": ("run", "run_name", "run_id"),
}
"""What columns mean, and what they are called; letters' case, spaces, hyphens and slashes do not count."""
SIZES = ("params", "tokens", "flops")
NO_COLUMN = "-"
"""Told as the column of what a table has none for, whatever its columns are called."""
_BITS = ("bits", "bits_per_byte", "bits_per_token", "bits_per_character", "bpb", "bpc")
_PERPLEXITIES = (
    "perplexity",
    "ppl",
    *(f"{name}_{each}" for name in ("val", "eval", "test", "validation") for each in ("perplexity", "ppl")),
)
_OTHER_LOSSES = (*_BITS, *_PERPLEXITIES)
"""What is taken where no column is called a loss."""
_OF_BITS = re.compile(r"(^|_)(bits|bpb|bpc)(_|$)")
_OF_PERPLEXITY = re.compile(r"(^|_)(perplexity|ppl)(_|$)")
"""In the name of a column that is taken as the loss."""

_COUNTS = {"num", "n", "number", "of", "count", "counts", "total", "all"}
_TRAINING = {"train", "training", "trained"}
_KINDS = {"model", "size", "trainable", "active", "precise", "dense"}
_WITHOUT = {"no", "non", "without"}
_EMBEDDINGS = {"embed", "embedding", "embeddings", "emb"}
_KEYS: Mapping[str, tuple[set[str], set[str]]] = {
    "params": (
        {"param", "params", "parameter", "parameters", "modelsize"},
        _COUNTS | _KINDS | _WITHOUT | _EMBEDDINGS,
    ),
    "tokens": ({"token", "tokens"}, _COUNTS | _TRAINING | {"seen"}),
    "flops": ({"flop", "flops"}, _COUNTS | _TRAINING | {"compute", "est", "estimated"}),
}
"""Words one of which a size's name has, and those that may stand beside it; ``flops_per_step`` is no size."""
_OF_SIZES = {
    *(word for keys in _KEYS.values() for words in keys for word in words),
    *_TRAINING,
    *("including", "incl", "excluding", "excl", "with"),
}
_SYMBOL = re.compile("c|u|6?n?d?")
"""Of sizes, alone or as the FLOPs that they make: ``Tokens (D)``, ``Compute (C = 6ND)``."""
_OTHERS = {"eval", "val", "valid", "validation", "test", "batch", "step", "teacher", "draft"}
"""Prefixes of sizes that are not the training's."""
_LOSS = re.compile(r"loss$|^loss|^nll$|crossentropy")
_NO_LOSS = {"std", "stderr", "var", "lower", "upper", "min", "max", "weight", "scale", "aux", "balance", "z"}
_LOGARITHMS = {"log", "ln", "nll"}
_UNITS: Mapping[str, float] = {
    **dict.fromkeys(("k", "thousand", "thousands"), 1e3),
    **dict.fromkeys(("m", "mn", "million", "millions"), 1e6),
    **dict.fromkeys(("b", "bn", "billion", "billions", "g"), 1e9),
    **dict.fromkeys(("t", "tn", "trillion", "trillions"), 1e12),
}
_PREFIXED = re.compile(
    r"(?<![^_])(giga|tera|peta|exa|zetta|yotta|[gtpezy])_?(?:flops?(?=_|$)|f(?=(?:_s)?_days?$))"
)
_PREFIXES = {"giga": 1e9, "tera": 1e12, "peta": 1e15, "exa": 1e18, "zetta": 1e21, "yotta": 1e24}
_KNOWN_UNITS = "K, M, B, T, thousands to trillions, 1e9, of FLOPs also PFLOPs, PFLOP-days, EFLOP-hours"
_SECONDS = {"second": 1.0, "hour": 3600.0, "day": 86400.0}
_TIMED = re.compile(r"(?:_s)?_(second|hour|day)s?$")
_POWER = re.compile(r"_(?:1e_?|10_)(\d{1,2})$")
_LARGE_ENOUGH = 1e18
"""A prefix that no throughput has."""


@dataclass(frozen=True)
class _Sought:
    """The columns that may mean something, the best there are."""

    meaning: str
    columns: tuple[str, ...]


def meanings(header: Sequence[str], told: Mapping[str, str], path: str) -> dict[str, str]:
    """Return which column of a table is which, by what it means.

    Args:
      header: all columns.
      told: columns of some meanings, that are not looked for.
      path: of the table, for messages.

    Raises:
      DataError: if the table lacks some, or has several for one, with the words that say which.
    """
    found = {name: (told[name],) if name in told else _best(name, header) for name in NAMES}
    sought = [_Sought(name, columns) for name, columns in found.items() if columns != (NO_COLUMN,)]
    meant = {each.meaning: each.columns[0] for each in sought if len(each.columns) == 1}
    problems = [
        f"several columns for {each.meaning}: {', '.join(each.columns)}"
        for each in sought
        if len(each.columns) > 1
    ]
    if problems:
        options = [
            f"{each.meaning} {shlex.quote(each.columns[0])}" for each in sought if len(each.columns) > 1
        ]
        raise DataError(f"{path} has {'; '.join(problems)}; say which by --columns {' '.join(options)}")
    if "loss" not in meant or sum(name in meant for name in SIZES) < 2:
        lacking = "loss" if "loss" not in meant else "two of params, tokens and flops"
        raise DataError(
            f"{path} has no column for {lacking} among {', '.join(header)}; name columns by --columns "
            "OURS THEIRS, such as --columns params n_params loss final"
        )
    return meant


def _best(meaning: str, header: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of the best kind of name that there is."""
    found = [column for column in header if plain(column) in NAMES[meaning]]
    # A column "l" may be anything, such as layers; beside another loss it is not taken for one.
    if meaning == "loss" and all(plain(column) == "l" for column in found):
        found += [column for column in header if plain(column) in _OTHER_LOSSES]
    if meaning in found:  # beside which a sweep's table has heldout/loss
        found = [column for column in found if "/" not in column]
    return tuple(found or _behind_a_prefix(meaning, header) or _by_words(meaning, header))


def _behind_a_prefix(meaning: str, header: Sequence[str]) -> list[str]:
    """Return columns such as ``optim/n_tokens``, as trackers and nested settings have them."""
    return [
        column
        for column in header
        if len(parts := re.split(r"[/.]", column)) > 1
        and len(parts[-1]) > 1
        and plain(parts[-1]) in NAMES[meaning]
        and (_is_some_loss(_words(column)) if meaning == "loss" else _is_of_training(column))
    ]


def _by_words(meaning: str, header: Sequence[str]) -> list[str]:
    if meaning == "loss":
        return [each for each in header if _is_some_loss(_words(each))]
    if meaning == "run":
        return []
    keys, others = _KEYS.get(meaning, (set(), set()))
    return [each for each in filter(_is_of_training, header) if _is_size(each, meaning, keys, others)]


def _is_size(column: str, meaning: str, keys: set[str], others: set[str]) -> bool:
    """Whether a column's words are those of a size."""
    unit = unit_of(re.split(r"/(?!s\b)", column)[-1])  # of PFLOP/s-days all
    words = set(_words(unit.name.replace("model_size", "modelsize")))
    if unit.may_be_rate and not words & (_COUNTS | _TRAINING | {"compute"}):
        return False
    if words & _EMBEDDINGS and not words & _WITHOUT:  # those of embeddings alone
        return False
    if len(unit.name) == 1 and unit.multiple != 1 and not re.search(r"[(\[]", column):  # d_m is a width
        return False
    return unit.name in NAMES[meaning] or bool(words & keys and words <= keys | others)


def _is_of_training(column: str) -> bool:
    return not _OTHERS.intersection(map(plain, re.split(r"[/.]", column)[:-1]))


def _is_some_loss(words: Sequence[str]) -> bool:
    is_some = any(map(_LOSS.search, words)) or "crossentropy" in "".join(words)
    return is_some and not _NO_LOSS.intersection(words)


@dataclass(frozen=True)
class Unit:
    """What the cells of a column are multiplied by.

    Attributes:
      multiple: of one.
      name: of the column, as ``plain`` has it, without its unit.
      may_be_rate: whether a throughput may be called so, as ``TFLOPs`` is of a tracker.
    """

    multiple: float
    name: str
    may_be_rate: bool = False


def unit_of(column: str) -> Unit:
    """Return the unit that a size's name ends in or has, such as ``Tokens (B)`` or ``PFLOP-days``."""
    name = "_".join(_words(column))
    if prefixed := _PREFIXED.search(name):
        multiple = next(value for prefix, value in _PREFIXES.items() if prefix.startswith(prefixed[1]))
        name = _PREFIXED.sub("flops", name)
        if timed := _TIMED.search(name):
            return Unit(multiple * _SECONDS[timed[1]], name[: timed.start()])
        return Unit(multiple, name, may_be_rate=multiple < _LARGE_ENOUGH)
    if power := _POWER.search(name):
        return Unit(10.0 ** int(power[1]), name[: power.start()])
    *before, last = _words(name) or [""]
    if before and last in _UNITS:
        return Unit(_UNITS[last], "_".join(before))
    return Unit(1.0, name)


def note_of_unknown_unit(column: str) -> str | None:
    """Say what a size's name has in parentheses at its end that is neither a unit nor of what sizes are."""
    inside = re.search(r"[(\[]([^()\[\]]*)[)\]]\s*$", column)
    if inside is None or unit_of(column).multiple != 1:
        return None
    words = set(re.findall(r"[^\W_]+", inside[1].lower().replace("w/o", "without")))
    if all(word in _OF_SIZES or _SYMBOL.fullmatch(word) for word in words):
        return None
    return (
        f"column {column!r} is read as it stands: {inside[1].strip()!r} is no unit; {_KNOWN_UNITS} are; if "
        "its numbers are in another, multiply them, or rename the column to one of these"
    )


def scale_of(column: str) -> str:
    """Return as what losses of a column are compared.

    Its usual names and perplexities, of which logarithms are taken, are one, "loss"; any other is of its own.
    """
    name = plain(column)
    return "loss" if name in NAMES["loss"] or name in _PERPLEXITIES else name


def is_perplexity(column: str) -> bool:
    """Whether a column that is taken as the loss has perplexities."""
    return _OF_PERPLEXITY.search(plain(column)) is not None and not _LOGARITHMS.intersection(_words(column))


def is_bits(column: str) -> bool:
    """Whether a column that is taken as the loss is in bits."""
    return _OF_BITS.search(plain(column)) is not None


def plain(column: str) -> str:
    """Return a name without what does not count in it."""
    return re.sub(r"[\s/.-]+", "_", column.strip().lower())


def _words(column: str) -> list[str]:
    return [each for each in re.split(r"[^a-z0-9]+", column.lower()) if each]
