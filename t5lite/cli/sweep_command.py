"""``t5lite sweep``: every run of a SWEEP.py, here, one after another; run it again to go on."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import tyro

from t5lite.cli.sweep_recipes import launch_words, write_recipes
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.files import check_place
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import StoragePath, is_remote, place
from t5lite.partitioning import multihost
from t5lite.planning.report import table
from t5lite.scaling.counting import EXACT, count_run
from t5lite.scaling.sweep_epochs import Epochs
from t5lite.scaling.sweep_list import write_list
from t5lite.scaling.sweep_running import Outcome, Processes, lacking, run_all
from t5lite.scaling.sweep_table import TABLE, has_parquet, note_finished, write_tables
from t5lite.scaling.sweeps import SweepRun, check_directory, expand, read_sweep

_SHORT_STATES = ("waiting", "finished")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Run every run of a sweep that is not done, here, one after another. Run it again to go on.

    SWEEP.py defines sweep() -> Sweep (docs/sweeps.md). Several machines may run the same command at once:
    each run is taken by one of them. Exit code: that of the first run that failed; 0 also where runs are left
    that another machine has, or that wait for its checkpoints.
    """

    sweep: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SWEEP.py")]] = ""
    """File."""
    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the runs with parameters, tokens, FLOPs and how they stand; start nothing."""
    only: tuple[str, ...] = ()
    """Runs, by the beginnings of their names, or families."""
    write_recipes: str | None = None
    """Start nothing; write a recipe (.json) for each run that is not finished into this directory, for
    `t5lite launch PLATFORM --config`."""
    launch: str | None = None
    """With --write-recipes, write each run's job file, too, by these words of `t5lite launch`:
    'slurm --chips h100-8'."""
    json: bool = False
    """With --list, print JSON."""

    def __post_init__(self):
        if not self.sweep:
            raise ConfigError("give the file of a sweep: t5lite sweep SWEEP.py; see --help")
        expand_fields(self, "sweep", "write_recipes")
        if self.json and not self.list:
            raise ConfigError("--json is of --list; give both")
        if self.list and self.write_recipes is not None:
            raise ConfigError("--list writes nothing; leave out --list or --write-recipes")
        if self.launch is not None:
            if self.write_recipes is None:
                raise ConfigError("--launch writes job files beside recipes; give --write-recipes DIR, too")
            launch_words(self.launch)
            if is_remote(self.write_recipes):
                raise ConfigError(
                    f"--write-recipes {self.write_recipes}: clients of platforms read job files from a disk; "
                    "with --launch give a directory on one"
                )


def run(arguments: Sequence[str]) -> int:
    """Run, list or write what is to be run, and return 0 or the code of the first run that failed."""
    known = command_line.parse(Arguments, arguments, prog="t5lite sweep")
    # Where an accelerator is, it is left to the runs, which are processes of their own.
    jax.config.update("jax_platforms", "cpu")
    sweep = read_sweep(place(known.sweep))
    folder, epochs = place(sweep.directory), Epochs()
    check_directory(folder)
    if known.write_recipes is not None:
        check_place(place(known.write_recipes))
    every, notes = expand(sweep)
    for note in notes:
        _say(note)
    runs = _chosen(every, known.only)
    if needed := lacking(runs):
        _say(f"taken as well, for others go on from there: {', '.join(run.id for run in needed)}")
        runs = [*needed, *runs]
    if known.list:
        print(_json(runs, epochs) if known.json else _listed(runs, epochs))
        return 0
    if known.write_recipes is not None:
        write_recipes(place(known.write_recipes), runs, launch=known.launch, say=_say)
        return 0
    _check_alone()
    if not has_parquet():
        _say("tables are written as CSV alone; Parquet needs pyarrow: pip install 't5lite[data]'")
    for remark in epochs.remarks(runs):
        _say(remark)
    write_list(folder, every)
    processes = Processes()

    def finished(run: SweepRun) -> None:
        if note_finished(folder, run, epochs):
            write_tables(folder, every, epochs)

    with processes.signals():
        outcome = run_all(runs, processes, evaluate=sweep.evaluate, say=_say, finished=finished)
    for left_out in write_tables(folder, every, epochs):
        _say(left_out)
    _say(_summary(outcome, runs, folder))
    if outcome.stopped_by is not None:
        _say(f"to go on: {shlex.join(['t5lite', 'sweep', *arguments])}")
    return outcome.exit_code


def _check_alone() -> None:
    """Check that a run that is started here waits for nobody.

    Raises:
      ConfigError: where processes of a cluster train a run together: each would take another one.
    """
    if (cluster := multihost.joined_cluster()) is not None:
        raise ConfigError(
            f"this is one of several processes of a {cluster} run, which train a run together, and each of "
            "them would take another run of the sweep and wait for the others; have --write-recipes FOLDER "
            "write the runs, and train one after another by all processes (t5lite train or launch), or "
            "start the sweep in a job of one process"
        )


def _chosen(runs: Sequence[SweepRun], only: Sequence[str]) -> list[SweepRun]:
    """Return the runs that ``--only`` names.

    Raises:
      ConfigError: if a word names none.
    """
    for word in only:
        if not any(_is_named(run, word) for run in runs):
            families = ", ".join(dict.fromkeys(run.family for run in runs))
            raise ConfigError(
                f"--only {shlex.quote(word)} names no run of the sweep; --list shows them "
                f"(families: {families})"
            )
    return [run for run in runs if not only or any(_is_named(run, word) for word in only)]


def _is_named(run: SweepRun, word: str) -> bool:
    return bool(word) and (run.family == word or run.id.startswith(word))


def _shown(run: SweepRun, epochs: Epochs) -> dict[str, Any]:
    state, step = run.state()
    return {
        "run": run.id,
        "family": run.family,
        "params": run.count.params,
        "non_embedding": count_run(run.config, "kaplan").params,
        "tokens": run.count.tokens,
        "unique_tokens": epochs.unique_tokens(run),
        "epochs": epochs.of(run),
        "flops": run.count.flops,
        "convention": EXACT,
        "steps": run.config.training.total_steps,
        "own_steps": run.own_steps,
        "trunk": run.trunk and {"run": run.trunk.run.id, "step": run.trunk.step},
        "batch_size": run.config.training.batch_size,
        "highest_rate": run.config.schedule.highest,
        "state": state,
        "step": step,
    }


def _json(runs: Sequence[SweepRun], epochs: Epochs) -> str:
    return json.dumps([_shown(run, epochs) for run in runs], indent=2)


def _listed(runs: Sequence[SweepRun], epochs: Epochs) -> str:
    titles = "run", "family", "parameters", "tokens", "epochs", "FLOPs", "steps", "rows", "rate", "state"
    branch = any(run.trunk for run in runs)
    lines: list[tuple[str, ...]] = [(*titles, "goes on from") if branch else titles]
    for each in (_shown(run, epochs) for run in runs):
        at = "" if each["state"] in _SHORT_STATES else f" at {each['step']:,}"
        lines.append(
            (
                each["run"],
                each["family"],
                f"{each['params']:,}",
                f"{each['tokens']:.3g}",
                f"{each['epochs']:.2g}",
                f"{each['flops']:.3g}",
                f"{each['steps']:,}",
                f"{each['batch_size']:,}",
                f"{each['highest_rate']:.2g}",
                f"{each['state']}{at}",
                *(_trunk_shown(each["trunk"]) if branch else ()),
            )
        )
    total = sum(run.count.flops for run in runs)
    left = (0, 1, *range(len(titles) - 1, len(lines[0])))
    below = [f"{len(runs)} runs, {total:.3g} FLOPs", *_saved(runs), *epochs.remarks(runs)]
    return "\n".join([*table.rows(lines, left=left), "", *below])


def _trunk_shown(trunk: dict[str, Any] | None) -> tuple[str]:
    return ("" if trunk is None else f"{trunk['run']} at {trunk['step']:,}",)


def _saved(runs: Sequence[SweepRun]) -> list[str]:
    """Return what is trained where runs go on from others, and what it would be from their starts."""
    steps = [run.config.training.total_steps for run in runs]
    if (own := sum(run.own_steps for run in runs)) == sum(steps):
        return []
    flops = sum(run.count.flops * run.own_steps / each for run, each in zip(runs, steps, strict=True))
    return [
        f"{own:,} steps are trained, {flops:.3g} FLOPs, in place of {sum(steps):,}: runs go on from shorter "
        "ones where these begin to decay"
    ]


def _summary(outcome: Outcome, runs: Sequence[SweepRun], folder: StoragePath) -> str:
    parts = [f"{len(outcome.done)} of {len(runs)} runs are finished"]
    if outcome.elsewhere:
        parts.append(f"{len(outcome.elsewhere)} are being trained by other processes")
    if outcome.waiting:
        parts.append(f"{len(outcome.waiting)} wait for a checkpoint of another")
    if outcome.failed:
        listed = ", ".join(f"{name} (code {code})" for name, code in outcome.failed.items())
        parts.append(f"{len(outcome.failed)} failed: {listed}")
    if outcome.done:
        parts.append(f"table: {folder / f'{TABLE}.csv'}")
    return "; ".join(parts)


def _say(text: str) -> None:
    print(f"sweep: {text}", file=sys.stderr, flush=True)
