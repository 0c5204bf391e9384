"""``t5lite launch``: start a run where its machines are."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from t5lite import run_config
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.registry import lookup
from t5lite.core.storage.addresses import place
from t5lite.launching import addresses, fit, submission
from t5lite.launching.job import Job, check_word, default_name
from t5lite.launching.platform import Platform
from t5lite.launching.platforms import PLATFORMS
from t5lite.run_config import RunConfig
from t5lite.runner.inheritance import read_source


def run(arguments: Sequence[str]) -> int:
    """Check, render and start; return 3 if the run does not fit, else what the platform's client says."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return ExitCode.DONE
    name, *words = arguments
    if name.startswith("-"):
        raise ConfigError(f"the platform comes first: t5lite launch {'|'.join(PLATFORMS)} --config RECIPE")
    platform_kind = lookup(PLATFORMS, name, kind="platform")
    words, train_arguments = _split(words)
    parser = _parser(name, platform_kind)
    known, overrides = parser.parse_known_args(words)
    for option, value in vars(known).items():
        if isinstance(value, str):
            check_word(f"--{option.replace('_', '-')}", value)
    platform = platform_kind(known)
    # Where an accelerator is, it is left to whoever uses it.
    jax.config.update("jax_platforms", "cpu")
    config = run_config.load(known.config, overrides, model=known.model, read_source=read_source).resolved()
    job = Job(
        name=default_name(known.config.stem) if known.name is None else known.name,
        config=config,
        train_arguments=tuple(train_arguments),
        max_restarts=platform.max_restarts if known.max_restarts is None else known.max_restarts,
        flags=tuple(known.flag),
    )
    addresses.check_places(config, platform.missing_disk)
    if not _may_start(config, platform, how=known.fit):
        return ExitCode.DOES_NOT_FIT
    text = platform.render(job)
    path = Path(f"{job.name}.{platform.suffix}")
    if known.dry_run:
        print(text, end="")
        print(f"would run: {shlex.join(platform.command(job, str(path)))}", file=sys.stderr)
        return ExitCode.DONE
    return submission.start(
        text, path, client=platform.client, command=lambda file: platform.command(job, file)
    )


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before and after the first ``--``."""
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def _parser(name: str, platform: type[Platform]) -> argparse.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog=f"t5lite launch {name}",
        description=f"Start a run: {platform.summary}. What is started is the recipe as it is here and now, "
        "with the overrides; its machines need no copy of it.",
        epilog="Any field of the recipe can be overridden: --run-dir gs://BUCKET/run --training.total-steps "
        "500. Words after -- go to `t5lite train` as they are. Exit code: 0 started (local, ssh: that of "
        "training), 2 a mistake, 3 it does not fit.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", type=place, metavar="RECIPE", required=True, help="recipe (.py) or config.json"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="a published shape for the recipe's; see `t5lite models`"
    )
    parser.add_argument("--name", help="of the job (default: the recipe's)")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be handed over, start nothing"
    )
    parser.add_argument(
        "--fit",
        choices=("predict", "compile", "skip"),
        default="predict",
        help="how to find out whether it fits the chips: a second, minutes, or not at all (default: predict)",
    )
    parser.add_argument(
        "--max-restarts",
        type=int,
        metavar="N",
        help=f"after ends that another start may mend (default: {platform.max_restarts})",
    )
    if platform.flag_example is None:
        parser.set_defaults(flag=[])
    else:
        parser.add_argument(
            "--flag",
            action="append",
            default=[],
            metavar="FLAG",
            help=f"for {platform.client}, as it is, such as --flag={platform.flag_example}; may be repeated",
        )
    platform.add_options(parser)
    return parser


def _may_start(config: RunConfig, platform: Platform, *, how: str) -> bool:
    """Say whether the run fits, and return whether it may start."""
    topology = platform.topology
    if topology is None:
        if how == "compile":
            raise ConfigError("--fit compile needs accelerators to compile for: give --chips")
        return True
    if how == "skip":
        print(f"not checked whether it fits {topology}", file=sys.stderr)
        return True
    ask = fit.predicted if how == "predict" else fit.compiled
    found = ask(config, topology, announce=lambda text: print(text, file=sys.stderr))
    prefix = "" if found.fits else "t5lite launch: "
    print(f"{prefix}{found.said}", file=sys.stderr)
    return found.fits


def _help() -> str:
    width = max(map(len, PLATFORMS))
    return "\n".join(
        [
            "usage: t5lite launch PLATFORM --config RECIPE [options]     t5lite launch PLATFORM --help",
            "",
            *(f"  {name:<{width}}  {platform.summary}" for name, platform in PLATFORMS.items()),
        ]
    )
