"""``t5lite train``: pretrain or fine-tune by a recipe; the same command resumes."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import jax
import tyro

from t5lite.checkpointing.reading import Step
from t5lite.cli import xla
from t5lite.cli.log import shown
from t5lite.cli.recipe_options import RecipeOptions
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.partitioning import multihost
from t5lite.partitioning.lost_processes import failing_fast
from t5lite.runner.beginning import say
from t5lite.runner.inheritance import unused_settings, with_inherited_adapter
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.training import train
from t5lite.training.supervision import supervised


@dataclass(frozen=True, kw_only=True)
class Arguments(RecipeOptions):
    """Pretrain or fine-tune by a recipe. Run the same command again to resume.

    Any field of the recipe can be overridden: --training.total-steps 500 --seed 1. `t5lite train --config
    RECIPE --help` lists them with the recipe's values.
    """

    allow_change: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Go on with another value of this field, or other contents of this store, though the run is another
    experiment from there on."""
    from_step: Step = "newest"
    """Go back to the checkpoint of this step, or to the best on held-out data (best); later ones are replaced
    as the run saves anew."""
    coordinator_address: str | None = None
    """HOST:PORT of process 0; a cluster is detected."""
    num_processes: int | None = None
    """How many processes train together."""
    process_id: int | None = None
    """Which of them this is, from 0."""


def run(arguments: Sequence[str]) -> int:
    """Train, and return 0 when finished or 128 + the signal when preempted (as a shell would)."""
    has_recipe = command_line.value_of("--config", arguments) is not None
    if not has_recipe and not {"-h", "--help"}.intersection(arguments):
        command_line.refuse_mistyped(arguments, command_line.option_names(Arguments))
        raise ConfigError("give a recipe by --config RECIPE, such as configs/pretrain_small.py; see --help")
    known, overrides = command_line.parse_known(
        Arguments,
        arguments,
        prog="t5lite train",
        add_help=not has_recipe,  # with one, its fields are explained
    )
    recipe = known.read(overrides)
    config = with_inherited_adapter(recipe)
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
        for message in unused_settings(recipe, config):
            say(message)
        with failing_fast(lambda: supervision.preemption.asked_by), _choices_shown():
            outcome = train(config, supervision, allowed=known.allow_change, from_step=known.from_step)
    if outcome.signal is None:
        return 0
    if multihost.is_leader():
        shape = {"--model": known.model, "--task": known.task}
        model = [word for option, value in shape.items() if value for word in (option, value)]
        allowed = [word for field in known.allow_change for word in ("--allow-change", field)]
        command = shlex.join(["t5lite", "train", "--config", known.config, *model, *allowed, *overrides])
        where = " (on every process)" if jax.process_count() > 1 else ""
        print(f"stopped at step {outcome.step}, saved; to go on{where}: {command}", file=sys.stderr)
    return 128 + outcome.signal


def _choices_shown() -> AbstractContextManager[None]:
    """Say once, not on every host, who computes attention and why."""
    return shown("t5lite.models.kernels") if multihost.is_leader() else nullcontext()
