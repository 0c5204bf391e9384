"""``t5lite launch``: start a run where its machines are."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import jax
import tyro

from t5lite.cli.recipe_options import RecipeOptions
from t5lite.core import command_line
from t5lite.core.errors import ConfigError, DoesNotFitError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.registry import lookup
from t5lite.launching import addresses, fit, submission
from t5lite.launching.job import Job, check_word, default_name
from t5lite.launching.platform import Platform
from t5lite.launching.platforms import PLATFORMS
from t5lite.run_config import RunConfig

KindT = TypeVar("KindT", bound=Platform)


@dataclass(frozen=True, kw_only=True)
class Arguments(RecipeOptions, Generic[KindT]):
    """What is started is the recipe as it is here and now, with the overrides: no machine needs a copy of it.

    Any field of the recipe can be overridden: --run-dir gs://BUCKET/run --training.total-steps 500. Words
    after -- go to `t5lite train` as they are. Exit code: 0 started (local, ssh: that of training), 2 a
    mistake, 3 it does not fit.
    """

    platform: Annotated[KindT, tyro.conf.arg(name="")]
    name: str | None = None
    """Of the job; the recipe's by default."""
    dry_run: bool = False
    """Print what would be handed over, start nothing."""
    fit: Literal["predict", "compile", "skip"] = "predict"
    """How to find out whether it fits the chips: a second, minutes, or not at all."""
    flag: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """For the platform's client, as it is, after an equals sign."""

    def __post_init__(self):
        super().__post_init__()
        for option, value in (vars(self) | vars(self.platform)).items():
            if isinstance(value, str):
                check_word(f"--{option.replace('_', '-')}", value)
        if self.flag and self.platform.flag_example is None:
            raise ConfigError("--flag is for the client of a platform, and this one has none; leave it out")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that fits its machines and sees its places, rendered."""

    job: Job
    platform: Platform
    text: str
    """Of the file that starts it."""
    dry_run: bool


def run(arguments: Sequence[str]) -> int:
    """Check, render and start; return what the platform's client says."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return ExitCode.DONE
    prepared = prepare(arguments)
    job, platform = prepared.job, prepared.platform
    path = Path(f"{job.name}.{platform.suffix}")
    if prepared.dry_run:
        print(prepared.text, end="")
        print(f"would run: {shlex.join(platform.command(job, str(path)))}", file=sys.stderr)
        return ExitCode.DONE
    return submission.start(
        prepared.text, path, client=platform.client, command=lambda file: platform.command(job, file)
    )


def prepare(arguments: Sequence[str]) -> Prepared:
    """Check and render what the words of the command ask for; start and write nothing.

    Raises:
      ConfigError: for a mistake in them, or a place that the machines do not see.
      DoesNotFitError: if the run does not fit the accelerators that they name.
    """
    name, *words = arguments
    if name.startswith("-"):
        raise ConfigError(f"the platform comes first: t5lite launch {'|'.join(PLATFORMS)} --config RECIPE")
    platform_kind = lookup(PLATFORMS, name, kind="platform")
    words, train_arguments = _split(words)
    known, overrides = _parse(name, platform_kind, words)
    platform = known.platform
    # Where an accelerator is, it is left to whoever uses it.
    jax.config.update("jax_platforms", "cpu")
    config = known.load(overrides).resolved()
    config.trained(config.functional_model())  # patterns that match nothing are told here
    job = Job(
        name=default_name(known.recipe.stem) if known.name is None else known.name,
        config=config,
        train_arguments=tuple(train_arguments),
        max_restarts=platform.max_restarts,
        flags=known.flag,
    )
    addresses.check_places(config, platform.missing_disk)
    _check_fits(config, platform, how=known.fit)
    return Prepared(job=job, platform=platform, text=platform.render(job), dry_run=known.dry_run)


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before and after the first ``--``."""
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def _parse(name: str, kind: type[Platform], words: Sequence[str]) -> tuple[Arguments[Platform], list[str]]:
    form: Any = Arguments
    client = "" if kind.flag_example is None else f" --flag is for {kind.client}: --flag={kind.flag_example}."
    return command_line.parse_known(
        form[kind],
        words,
        prog=f"t5lite launch {name}",
        description=f"Start a run: {kind.summary}. {Arguments.__doc__}{client}",
    )


def _check_fits(config: RunConfig, platform: Platform, *, how: str) -> None:
    """Say how well the run fits.

    Raises:
      DoesNotFitError: if it does not.
      ConfigError: if it cannot be asked.
    """
    topology = platform.topology
    if topology is None:
        if how == "compile":
            raise ConfigError("--fit compile needs accelerators to compile for: give --chips")
        return
    if how == "skip":
        print(f"not checked whether it fits {topology}", file=sys.stderr)
        return
    ask = fit.predicted if how == "predict" else fit.compiled
    found = ask(config, topology, announce=lambda text: print(text, file=sys.stderr))
    if not found.fits:
        raise DoesNotFitError(found.said)
    print(found.said, file=sys.stderr)


def _help() -> str:
    width = max(map(len, PLATFORMS))
    return "\n".join(
        [
            "usage: t5lite launch PLATFORM --config RECIPE [options]     t5lite launch PLATFORM --help",
            "",
            *(f"  {name:<{width}}  {platform.summary}" for name, platform in PLATFORMS.items()),
        ]
    )
