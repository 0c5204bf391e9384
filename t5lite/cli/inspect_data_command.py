"""``t5lite inspect-data``: what a recipe, a run or a store would feed to a model."""

import functools
import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t5lite import run_config
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.data.inspection import (
    Lengths,
    Rows,
    decoded_examples,
    document_lengths,
    measure_rows,
    rows_to_show,
)
from t5lite.data.pipeline import (
    BatchStream,
    DataConfig,
    PairsDataConfig,
    PretrainingDataConfig,
    open_pipeline,
)
from t5lite.data.stores.pair_store import is_pair_store
from t5lite.run_config import RunConfig
from t5lite.runner.data_messages import data_usage
from t5lite.runner.inheritance import read_source
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.step_examples import StepBatches, history_of, made_otherwise, open_seen

_ARCHITECTURE = "encoder_decoder"
"""What a store is shown for by itself."""
_BAR = 32
_EIGHTHS = " ▏▎▍▌▋▊▉"
_ROWS, _BATCHES = 2, 50
_SHOWN = ("--config", "--run", "--store")
"""One of which says what to show."""
_STORE_LENGTHS = (512, 256, 128, 64, 32)
"""Inputs' lengths that are tried for a token store without a recipe: the first that it can fill."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Show what a model would be trained on: sources and shares, lengths, padding, decoded examples, speed.

    Nothing is written. Any field of a recipe can be overridden, as for `t5lite train`: --data.inputs-length
    256.
    """

    config: str | None = None
    """Recipe (.py) or saved config.json."""
    run: str | None = None
    """Run directory."""
    store: str | None = None
    """Token or pair store, a directory or an address."""
    step: int | None = None
    """Show the batch of this step (from 1), row by row, exactly as a training of the recipe gets it, or as
    this run got it; nothing else."""
    json: bool = False
    """With --step, print each row's fields as JSON, a line a row."""
    examples: int | None = None
    """Rows shown: of each source 2, of a step all of them."""
    batches: int | None = None
    """Batches that are measured; 50 by default."""
    batch_size: int | None = None
    """Rows of a batch; by default the recipe's, of a store 64."""

    def __post_init__(self):
        expand_fields(self, "config", "run", "store")
        if len([each for each in (self.config, self.run, self.store) if each is not None]) != 1:
            raise ConfigError("say what to show, by one of --config RECIPE, --run RUN and --store STORE")
        if self.step is not None and (self.store is not None or self.batch_size is not None):
            raise ConfigError(
                "--step is of a recipe or a run and its batch size; give --config or --run alone"
            )
        if self.step is not None and self.batches is not None:
            raise ConfigError("--batches measures many, and --step shows one; give one of the two")
        if self.json and self.step is None:
            raise ConfigError("--json is of --step; give both")
        too_small = self.batch_size is not None and self.batch_size < 1
        too_few = self.batches is not None and self.batches < 1
        if (self.examples or 0) < 0 or too_few or too_small:
            raise ConfigError("--examples must not be negative, --batches and --batch-size be at least 1")

    @property
    def directory(self) -> RunDirectory | None:
        """The run, if it is one that is shown."""
        return None if self.run is None else RunDirectory.at(self.run)

    @property
    def recipe(self) -> StoragePath:
        """The recipe, or what a run saved of its own.

        Raises:
          ConfigError: for a run that has none.
        """
        if (directory := self.directory) is None:
            assert self.config is not None  # one of three is given, and it is no store
            return place(self.config)
        if not directory.config_file.is_file():
            directory.read_model()  # says so where it is no run at all
            raise ConfigError(
                f"{directory.path} was imported, and nothing says what data it is for; show a store by "
                "--store"
            )
        return directory.config_file


def run(arguments: Sequence[str]) -> int:
    """Print what there is to see, and return 0."""
    if not any(command_line.value_of(flag, arguments) for flag in _SHOWN):
        command_line.refuse_mistyped(arguments, command_line.option_names(Arguments))
    known, overrides = command_line.parse_known(Arguments, arguments, prog="t5lite inspect-data")
    if known.store and overrides:
        raise ConfigError(f"{overrides[0]} overrides a field of a recipe, but --store has none; use --config")
    if known.step is not None:
        return _show_step(known, run_config.load(known.recipe, overrides, read_source=read_source).resolved())
    if known.store:
        config, stream, workers, batch_size = *_open_store(known.store), 0, 64
        architecture = _ARCHITECTURE
    else:
        recipe = run_config.load(known.recipe, overrides, read_source=read_source).resolved()
        stream = open_seen(recipe, known.directory)
        config, architecture = recipe.data, recipe.model.architecture
        workers, batch_size = recipe.loader.num_workers, recipe.training.batch_size
    rows = measure_rows(
        stream,
        batch_size=known.batch_size or batch_size,
        num_batches=known.batches or _BATCHES,
        num_workers=workers,
    )
    _print_sources(config, stream, rows)
    _print_stores(config, stream, architecture)
    _print_rows(stream, rows, known.batch_size or batch_size, workers)
    _print_examples(stream, _ROWS if known.examples is None else known.examples)
    return 0


def _show_step(known: Arguments, recipe: RunConfig) -> int:
    """Print the rows of one step."""
    directory = known.directory
    history = history_of(directory)
    open_data = functools.cache(lambda: open_seen(recipe, directory))
    batch = StepBatches.of(recipe, history, open_data).batch(known.step or 0)
    for change in made_otherwise(history, known.step or 0):
        print(f"shown with today's settings, which are not those of this step: {change}", file=sys.stderr)
    stream = open_data()
    count = batch.size if known.examples is None else min(known.examples, batch.size)
    fields = stream.batch(batch.start, batch_size=batch.size, rows=slice(0, count)) if count else {}
    if known.json:
        for row in range(count):
            values = {name: field[row].tolist() for name, field in fields.items()}
            print(json.dumps({"example": batch.start + row, **values}))
        return 0
    last = batch.start + batch.size - 1
    print(f"step {known.step:,}: examples {batch.start:,} to {last:,}, counted from 0")
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    for row in range(count):
        _heading(f"example {batch.start + row:,}")
        _print_row({name: field[row] for name, field in fields.items()}, stream, width)
    return 0


def _open_store(store: str) -> tuple[DataConfig, BatchStream]:
    """Return what a store is made of by default: span corruption of text, padded pairs."""
    if is_pair_store(store):
        config = PairsDataConfig(store=store)
        return config, open_pipeline(config, architecture=_ARCHITECTURE)
    directory = RunDirectory.at(store)
    if directory.model_file.is_file() and directory.config_file.is_file():
        raise ConfigError(
            f"{store} is a run directory, not a store; --run {store} shows the data that it was trained on"
        )
    for length in _STORE_LENGTHS[:-1]:
        try:
            config = PretrainingDataConfig(store=store, inputs_length=length)
            return config, open_pipeline(config, architecture=_ARCHITECTURE)
        except ConfigError:
            continue
    config = PretrainingDataConfig(store=store, inputs_length=_STORE_LENGTHS[-1])
    return config, open_pipeline(config, architecture=_ARCHITECTURE)


def _heading(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def _print_sources(config: DataConfig, stream: BatchStream, rows: Rows) -> None:
    sources = config.named_sources
    width = max(map(len, sources))
    for name, source in sources.items():
        pipeline = stream.sources[name]
        lengths = " + ".join(str(n) for n in (pipeline.encoder_length, pipeline.decoder_length) if n)
        if name in stream.shares:
            share, seen = stream.shares[name], rows.shares[name]
            print(f"{name:<{width}}  {_bar(share)} {share:7.2%} of the rows ({seen:.2%} of those looked at)")
        print(f"  {source.store}")
        print(f"  {source.kind}, {lengths} tokens a row, {pipeline.num_examples:,} rows an epoch")
        if source.remark:
            print(f"  {source.remark}")
        if usage := data_usage(pipeline.report):
            print(f"  {usage}")


def _print_stores(config: DataConfig, stream: BatchStream, architecture: str) -> None:
    """Print the lengths in each store, once for all the sources that read it alike."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    sources, vocabulary = config.named_sources, stream.vocabulary
    for name, source in sources.items():
        limits = tuple(source.limits(architecture, vocabulary).values())
        alike.setdefault((source.store, limits, source.drops_overlong), []).append(name)
    for same in alike.values():
        source = sources[same[0]]
        for lengths in document_lengths(source, architecture=architecture, vocabulary=vocabulary):
            named = ", ".join(same) if stream.shares else ""
            _print_lengths(named, lengths, drops_overlong=source.drops_overlong)


def _print_lengths(source: str, lengths: Lengths, *, drops_overlong: bool) -> None:
    mean = lengths.num_tokens / lengths.num_documents
    _heading(
        f"{f'{source}: ' if source else ''}tokens of {lengths.name} ({lengths.num_documents:,}, "
        f"{lengths.num_tokens:,} tokens, {mean:.1f} each)"
    )
    histogram = lengths.histogram()
    largest = max(share for _, _, share in histogram)
    width = len(f"{histogram[-1][1]:,}")
    for shortest, longest, share in histogram:
        print(f"  {shortest:>{width},} to {longest:>{width},}  {_bar(share / largest)} {share:6.1%}")
    of = "" if len(lengths.sample) == lengths.num_documents else f" (of {len(lengths.sample):,} of them)"
    print("  " + ", ".join(f"{name} {length:,}" for name, length in lengths.spread().items()) + of)
    if lengths.limit:
        done = "their pairs are left out" if drops_overlong else "they are cut"
        print(
            f"  {lengths.num_too_long:,} ({lengths.share_too_long:.1%}) are longer than the "
            f"{lengths.limit:,} tokens that fit{f': {done}' if lengths.num_too_long else ''}"
        )
    if lengths.unknown is None:
        print("  unknown tokens were not counted when this store was prepared")
    else:
        print(
            f"  {lengths.unknown.share:.2%} of the tokens are unknown, in "
            f"{lengths.unknown.share_with_unknown:.1%} of the {lengths.name}"
        )
        if lengths.unknown.lost:
            print(
                f"  {lengths.unknown.share_lost:.2%} of the characters are lost: no token stands for them, "
                f"in {lengths.unknown.share_with_lost:.1%} of the {lengths.name}"
            )


def _print_rows(stream: BatchStream, rows: Rows, batch_size: int, workers: int) -> None:
    _heading(f"rows as the model gets them ({batch_size} a batch)")
    for side, share in rows.filled.items():
        length = getattr(stream, f"{side}_length")
        counted = f", {rows.trained[side]:6.1%} with loss" if side in rows.trained else ""
        print(f"  {side}  {length:>5,} tokens  {_bar(share)} {share:6.1%} filled{counted}")
    print(f"  {rows.segments:.2f} examples a row")
    if rows.skipped:
        print(f"  {rows.skipped:,} rows are blank for damage: {next(iter(stream.skipped))}")
    how = f"by {workers} worker processes" if workers else "in this process"
    print(
        f"  first batch after {rows.first_batch_seconds:.2f} s, then {rows.batches_a_second:,.0f} batches a "
        f"second ({rows.tokens_a_second / 1e6:.2f}M tokens/s) {how}"
    )


def _print_examples(stream: BatchStream, count: int) -> None:
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    for number, (source, fields) in enumerate(rows_to_show(stream, count) if count else ()):
        of_source = f" of {source}" if stream.shares else ""
        _heading(f"row {number % count + 1}{of_source}")
        _print_row(fields, stream, width)


def _print_row(fields: Mapping[str, np.ndarray], stream: BatchStream, width: int) -> None:
    examples = decoded_examples(fields, stream.vocabulary)
    for position, example in enumerate(examples[:3]):
        if position:
            print()
        for part, text in example.items():
            lines = textwrap.wrap(" ".join(text.split()) or "(nothing)", width - 14)
            for line_number, line in enumerate(lines[:8]):
                print(f"  {part if line_number == 0 else '':<10}  {line}")
            if len(lines) > 8:
                print(f"  {'':<10}  …")
    if len(examples) > 3:
        print(f"  … and {len(examples) - 3} examples more in this row")


def _bar(share: float) -> str:
    """Return a bar of ``_BAR`` characters that is filled to ``share``."""
    eighths = round(min(max(share, 0.0), 1.0) * _BAR * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(_BAR)
