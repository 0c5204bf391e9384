"""``t5lite train``: pretrain or fine-tune by a recipe; the same command resumes."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import jax

from t5lite import run_config
from t5lite.checkpointing.reading import Step
from t5lite.cli import xla
from t5lite.cli.log import shown
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_home
from t5lite.core.storage.addresses import place
from t5lite.models.config import ModelConfig
from t5lite.partitioning import multihost
from t5lite.partitioning.lost_processes import failing_fast
from t5lite.runner.inheritance import read_source
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.training import train
from t5lite.training.supervision import supervised


def run(arguments: Sequence[str]) -> int:
    """Train, and return 0 when finished or 128 + the signal when preempted (as a shell would)."""
    parser = command_line.ArgumentParser(
        prog="t5lite train",
        description="Pretrain or fine-tune by a recipe. Run the same command again to resume.",
        epilog="Any field of the recipe can be overridden: --training.total-steps 500 --seed 1. "
        "`t5lite train --config RECIPE --help` lists them with the recipe's values.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=place, metavar="RECIPE", help="recipe (.py) or saved config.json")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a shape for the recipe's: a published one (`t5lite models` lists them), or a run directory's",
    )
    parser.add_argument(
        "--allow-change",
        metavar="FIELD",
        action="append",
        default=[],
        help="go on with another value of this field, or other contents of this store, though the run is "
        "another experiment from there on (may be repeated)",
    )
    parser.add_argument(
        "--from-step",
        type=_step,
        default="newest",
        metavar="STEP",
        help="go back to the checkpoint of this step, or to the best on held-out data (best); later ones are "
        "replaced as the run saves anew",
    )
    parser.add_argument(
        "--coordinator-address", metavar="HOST:PORT", help="of process 0; a cluster is detected"
    )
    parser.add_argument("--num-processes", type=int, help="how many processes train together")
    parser.add_argument("--process-id", type=int, help="which of them this is, from 0")
    known, overrides = parser.parse_known_args(arguments)
    if known.config is None:
        if "--help" in overrides or "-h" in overrides:
            parser.print_help()
            return 0
        raise ConfigError("give a recipe by --config RECIPE, such as configs/pretrain_small.py; see --help")
    config = run_config.load(known.config, overrides, model=_model(known.model), read_source=read_source)
    xla.configure()
    with supervised(config.watchdog, RunDirectory.at(config.run_dir).path) as supervision:
        with supervision.phases.enter("startup"):
            multihost.initialize(
                coordinator_address=known.coordinator_address,
                num_processes=known.num_processes,
                process_id=known.process_id,
                config=config.joining,
            )
            supervision.preemption.coordinate()
        with failing_fast(lambda: supervision.preemption.asked_by), _choices_shown():
            outcome = train(config, supervision, allowed=known.allow_change, from_step=known.from_step)
    if outcome.signal is None:
        return 0
    if multihost.is_leader():
        model = ["--model", known.model] if known.model else []
        allowed = [word for field in known.allow_change for word in ("--allow-change", field)]
        command = shlex.join(["t5lite", "train", "--config", str(known.config), *model, *allowed, *overrides])
        where = " (on every process)" if jax.process_count() > 1 else ""
        print(f"stopped at step {outcome.step}, saved; to go on{where}: {command}", file=sys.stderr)
    return 128 + outcome.signal


def _model(name: str | None) -> str | ModelConfig | None:
    """Return the model of a run directory; any other name is that of a published shape."""
    if name is None:
        return None
    directory = RunDirectory.at(expand_home(name))
    return directory.read_model()[0] if directory.model_file.is_file() else name


def _step(word: str) -> Step:
    if word in ("newest", "best"):
        return word
    if not word.isascii() or not word.isdigit():
        raise argparse.ArgumentTypeError(f"{word!r} must be the number of a step, newest or best")
    return int(word)


def _choices_shown() -> AbstractContextManager[None]:
    """Say once, not on every host, who computes attention and why."""
    return shown("t5lite.models.kernels") if multihost.is_leader() else nullcontext()
