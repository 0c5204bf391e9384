"""What the checkpoints of a run will be read beside: decided with its plan."""

import dataclasses

from t5lite.adapters import Base
from t5lite.checkpointing.reading import parameters_digest
from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import place
from t5lite.run_config import InitializeFrom, RunConfig
from t5lite.runner.adapted import found_base
from t5lite.runner.initialization import Source
from t5lite.runner.resumption import Resumption
from t5lite.runner.run_directory import RunDirectory


def planned_base(config: RunConfig, resumed: Resumption | None, source: Source | None) -> Base | None:
    """Return the base of a run, which is there; None of a run that needs none. Call it in one process.

    Args:
      config: of the run.
      resumed: the checkpoint that it goes on from.
      source: what it begins from.

    Raises:
      ConfigError: if it has no base, goes on with another adapter, or cannot be trained on such rows.
      CheckpointError: if the base is gone or another.
    """
    packed = any(source.packs_rows for source in config.data.named_sources.values())
    config.adapter.check_rows(hold_several=packed)
    if resumed is not None:
        _check_same_adapter(config, resumed)
        before = resumed.config and resumed.config.initialize_from
        return resumed.base and found_base(moved(resumed.base, config.initialize_from, before))
    if source is not None and (held := source.model.adaptation) is not None:
        begun = config.adapter.begun_from(held.adapter, source.model.config, config.model)
        if begun != config.adapter:
            raise ConfigError(
                f"initialize_from.run={source.run} holds {begun}, and adapter is {config.adapter}; "
                f"give that one, of which the dropout alone may be another, or begin from its base, "
                f"{held.base.run}"
            )
        return found_base(held.base)
    if not config.adapter.stands_apart:
        return None
    if source is None or source.step is None:
        raise ConfigError(
            f"adapter={type(config.adapter).__name__} is trained beside a model, and there is none; give the "
            "run that has it, or an import, by --initialize-from.run RUN"
        )
    if source.average is not None:
        raise ConfigError(
            f"step {source.step} is the best of {source.run} by its moving average, and an adapter stands "
            f"beside a checkpoint's parameters; take those by --initialize-from.step {source.step}, or make "
            f"the average a model: `t5lite export --run {source.run} --step best`, then `t5lite import`"
        )
    return Base(
        run=source.run,
        step=source.step,
        digest=parameters_digest(RunDirectory.at(source.run).checkpoints, source.step),
    )


def moved(base: Base, now: InitializeFrom | None, before: InitializeFrom | None) -> Base:
    """Return the base where it is now: a run that began from it is told by ``initialize_from``.

    One that began from an adapter names that there, and not the base.

    Args:
      base: as the run's files name it.
      now: ``initialize_from`` of the run that goes on.
      before: the same as the run had it until now.
    """
    if now is None or (before is not None and place(before.run) != place(base.run)):
        return base
    return dataclasses.replace(base, run=now.run)


def _check_same_adapter(config: RunConfig, resumed: Resumption) -> None:
    if resumed.config is None or resumed.config.adapter.goes_on_as(config.adapter):
        return
    raise ConfigError(
        f"run_dir={config.run_dir} has trained {resumed.config.adapter} up to step {resumed.step}, and "
        f"adapter is {config.adapter} now; change it back, or start in another run_dir"
    )
