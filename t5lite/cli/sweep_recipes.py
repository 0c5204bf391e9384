"""``t5lite sweep --write-recipes``: a recipe for each run, and its job, for machines that are not here."""

import dataclasses
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from t5lite import run_config
from t5lite.cli import launch_command
from t5lite.core.errors import ConfigError, DoesNotFitError
from t5lite.core.files import make_directory, write_text
from t5lite.core.storage.addresses import StoragePath
from t5lite.run_config import RunConfig
from t5lite.runner.inheritance import with_inherited_adapter
from t5lite.scaling.run_ids import run_id
from t5lite.scaling.sweep_running import Say, as_it_can_start
from t5lite.scaling.sweeps import SweepRun

_BY_HAND = "start each when that is there"


@dataclass(frozen=True, kw_only=True)
class _Start:
    """A run that is not finished."""

    run: SweepRun
    awaited: str | None
    """The run that must keep a checkpoint before."""

    @property
    def file_name(self) -> str:
        return f"{self.run.id}.json"


def launch_words(text: str) -> list[str]:
    """Return what ``--launch`` says, as words of ``t5lite launch``.

    Raises:
      ConfigError: if these are none, or say what each run says of itself, or what is not checked here.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--launch {text!r} is not as a shell reads words: {error}") from None
    if not words:
        raise ConfigError("--launch needs words of t5lite launch, such as 'slurm --chips h100-8'")
    options = [word.partition("=")[0] for word in words]
    for option in ("--config", "--name"):
        if option in options:
            raise ConfigError(f"--launch has {option}, which each run has of its own: leave it out")
    if "--" in words:
        raise ConfigError("--launch has --, whose words t5lite train alone would check: give them before it")
    return words


def write_recipes(folder: StoragePath, runs: Sequence[SweepRun], *, launch: str | None, say: Say) -> None:
    """Write a recipe for each run that is not finished, and its job; print the lines that start them.

    Args:
      folder: for the files, whose names are those of the runs.
      runs: in an order in which each comes after the one that it goes on from.
      launch: words of ``t5lite launch``; without them no job is rendered.
      say: shows a line.

    Raises:
      ConfigError: for what ``t5lite launch`` refuses, before anything is written.
      DoesNotFitError: likewise.
    """
    starts = [_start(run, say) for run in runs if run.state()[0] != "finished"]
    if not starts:
        say("all of them are finished: nothing is written")
        return
    jobs = [] if launch is None else _jobs(starts, launch_words(launch))
    make_directory(folder)
    for start in starts:
        run_config.save(start.run.started, folder / start.file_name)
    lines = _job_lines(starts, jobs, folder) if jobs else [_launch_line(start, folder) for start in starts]
    for start, line in zip(starts, lines, strict=True):
        print(line + _reason(start))
    if num_waiting := sum(start.awaited is not None for start in starts):
        keeps_order = any(each.platform.keeps_order for each in jobs)
        how = "in one shell, the lines have each wait for that run" if keeps_order else _BY_HAND
        say(f"{num_waiting} of them go on from a checkpoint of a run above: {how}")


def _start(run: SweepRun, say: Say) -> _Start:
    ready = as_it_can_start(run, run.id, say)
    return _Start(run=ready or run, awaited=run.trunk.run.id if ready is None and run.trunk else None)


def _jobs(starts: Sequence[_Start], words: Sequence[str]) -> list[launch_command.Prepared]:
    """Return the runs' jobs as ``t5lite launch`` renders them."""
    platform, *options = words
    jobs: list[launch_command.Prepared] = []
    with tempfile.TemporaryDirectory() as scratch:
        for start in starts:
            recipe = Path(scratch) / start.file_name
            run_config.save(start.run.started, recipe)
            own = ["--config", str(recipe), "--name", _job_name(start.run.id)]
            try:
                prepared = launch_command.prepare([platform, *own, *options])
                _check_is_run(prepared.job.config, start.run)
            except (ConfigError, DoesNotFitError) as error:
                raise type(error)(f"--launch of run {start.run.id}: {error}") from None
            jobs.append(prepared)
    return jobs


def _check_is_run(config: RunConfig, run: SweepRun) -> None:
    """Check that what is launched is the run: the words may move it and its stores to other devices.

    Raises:
      ConfigError: if it would lie elsewhere, or learn something else.
    """
    own = with_inherited_adapter(run.started).resolved()
    if config.run_dir != own.run_dir:
        raise ConfigError(
            f"run_dir={config.run_dir}, but runs lie in the directory of their sweep: leave --run-dir out, "
            "and give SWEEP.py's Sweep another directory"
        )

    def kept(config: RunConfig) -> tuple[object, ...]:
        alone = dataclasses.replace(config, continue_from=None)
        name = run_id(alone, lambda store: "store")  # which may be a copy elsewhere
        return name, config.continue_from, config.checkpoints.keep_steps

    if kept(config) != kept(own):
        raise ConfigError(
            "the words change what is trained, and the run's name would tell something else: change it in "
            "SWEEP.py, and say here where and how it is trained (platform, mesh, remat, copies of stores)"
        )


def _job_lines(
    starts: Sequence[_Start], jobs: Sequence[launch_command.Prepared], folder: StoragePath
) -> list[str]:
    """Write the jobs' files, and return the lines that start them."""
    awaited = {start.awaited for start in starts}
    lines: list[str] = []
    for start, prepared in zip(starts, jobs, strict=True):
        platform = prepared.platform
        file = folder / f"{start.run.id}.{platform.suffix}"
        write_text(file, prepared.text)
        after = None if start.awaited is None else _job_name(start.awaited)
        is_awaited = start.run.id in awaited
        lines.append(platform.shell_line(prepared.job, str(file), after=after, awaited=is_awaited))
    return lines


def _launch_line(start: _Start, folder: StoragePath) -> str:
    file = str(folder / start.file_name)
    return shlex.join(["t5lite", "launch", "PLATFORM", "--config", file, "--name", _job_name(start.run.id)])


def _job_name(run: str) -> str:
    return f"run-{run}"  # platforms' names begin with a letter


def _reason(start: _Start) -> str:
    """Return a shell's comment on a run that waits."""
    if start.awaited is None or start.run.trunk is None:
        return ""
    return f"  # goes on from step {start.run.trunk.step} of {start.awaited}"
