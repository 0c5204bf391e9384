"""What changing a setting does to a run that goes on: one table, and what follows from it.

A run keeps its promise (every example once an epoch, in order, whatever stopped it) where it goes on with the
settings it was saved with. Some settings may change without touching that; others change how it learns from
the same examples; a third kind breaks the order, or makes another experiment of it, and is only taken where
the user allows it by name.
"""

import dataclasses
import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from t5lite.core.errors import ConfigError, suggestion
from t5lite.core.json_changes import Change, json_changes
from t5lite.run_config import RunConfig, to_json
from t5lite.runner.resumption import Resumption


class Effect(enum.Enum):
    """What a change does; the value is how messages put it."""

    NOTHING = "the same training"
    COURSE = "the same examples in the same order, learnt otherwise"
    ORDER = (
        "the examples come in another order: the steps to come repeat some that were seen and leave out "
        "some that were not"
    )
    EXPERIMENT = "another experiment: what was learnt so far was learnt from, or for, something else"

    @property
    def needs_leave(self) -> bool:
        """Whether the user must allow it by name."""
        return self in (Effect.ORDER, Effect.EXPERIMENT)


EFFECTS: Mapping[str, Effect] = {
    "run_dir": Effect.NOTHING,
    "seed": Effect.ORDER,
    # What a model is cannot change in a run; model.json is compared before. How it is computed can.
    "model": Effect.EXPERIMENT,
    "model.dropout_rate": Effect.COURSE,
    "execution": Effect.NOTHING,
    "execution.compute_dtype": Effect.COURSE,
    "execution.param_dtype": Effect.COURSE,
    "data": Effect.EXPERIMENT,
    "data.frame": Effect.EXPERIMENT,
    "data.inputs_length": Effect.ORDER,
    "data.max_epochs": Effect.NOTHING,
    "data.objective": Effect.EXPERIMENT,
    "data.overlong": Effect.ORDER,
    "data.pack": Effect.ORDER,
    "data.store": Effect.EXPERIMENT,
    "data.targets_length": Effect.ORDER,
    # Of a mixture, each source goes on where it was, whatever its share and the others are.
    "data.max_examples": Effect.COURSE,
    "data.scale": Effect.COURSE,
    "data.temperature": Effect.COURSE,
    "data.sources": Effect.COURSE,
    "data.sources.*.data": Effect.EXPERIMENT,
    "data.sources.*.data.frame": Effect.EXPERIMENT,
    "data.sources.*.data.inputs_length": Effect.ORDER,
    "data.sources.*.data.max_epochs": Effect.NOTHING,
    "data.sources.*.data.overlong": Effect.ORDER,
    "data.sources.*.data.pack": Effect.ORDER,
    "data.sources.*.data.targets_length": Effect.ORDER,
    "optimizer": Effect.COURSE,
    "schedule": Effect.COURSE,
    # Only its wording can change: what it means is compared before, in ``runner.trained``.
    "trainable": Effect.NOTHING,
    # The dropout; another adapter is refused before, in ``runner.adapted``.
    "adapter": Effect.COURSE,
    "learning_rate_factors": Effect.COURSE,
    "layerwise_learning_rate_decay": Effect.COURSE,
    "training": Effect.NOTHING,
    "training.batch_size": Effect.COURSE,
    "training.ema_decay": Effect.COURSE,
    "training.epochs": Effect.COURSE,
    "training.total_steps": Effect.COURSE,
    "step": Effect.COURSE,
    "step.vocab_chunks": Effect.NOTHING,
    "loader": Effect.NOTHING,
    "loader.on_damage": Effect.COURSE,
    "evaluations": Effect.NOTHING,
    "checkpoints": Effect.NOTHING,
    "partitioning": Effect.NOTHING,
    "watchdog": Effect.NOTHING,
    "lease": Effect.NOTHING,
    "joining": Effect.NOTHING,
    "trackers": Effect.NOTHING,
    "initialize_from": Effect.NOTHING,
    "continue_from": Effect.NOTHING,
}
"""By field; a field that is not here has the effect of the one it belongs to, ``*`` is any source."""


@dataclass(frozen=True)
class ConfigChange:
    """A setting that is another one than the checkpoint was saved with."""

    change: Change
    effect: Effect

    @property
    def field(self) -> str:
        """Its name, which ``--allow-change`` takes."""
        return self.change.field

    def allowed_by(self, names: Collection[str]) -> bool:
        """Whether one of ``names`` is the field, or what it belongs to."""
        return any(f"{self.field}.".startswith(f"{name}.") for name in names)

    def __str__(self) -> str:
        return str(self.change)


def effect_of(path: Sequence[str]) -> Effect:
    """Return what changing the field at ``path`` does; of a field that is not known, the worst."""
    for length in range(len(path), 0, -1):
        for pattern, effect in EFFECTS.items():
            if _matches(pattern.split("."), path[:length]):
                return effect
    return Effect.EXPERIMENT


def _matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    return len(pattern) == len(path) and all(
        wanted in ("*", found) for wanted, found in zip(pattern, path, strict=True)
    )


def config_changes(
    resumed: Resumption, config: RunConfig, contents: Mapping[str, str], *, frames_differ: bool = True
) -> list[ConfigChange]:
    """Return what ``config``, or the contents of its stores, changes against the checkpoint's own.

    Args:
      resumed: the checkpoint that the run goes on from.
      config: that it goes on with.
      contents: digests of its stores, by field.
      frames_differ: whether inputs in the vocabulary's own frame are others than those with EOS behind.
    """
    changes = [
        ConfigChange(change, effect_of(change.path))
        for change in json_changes(resumed.config_json, to_json(config))
    ]
    moved = {change.field for change in changes}
    for path in config.stores:
        field = ".".join(path)
        before, now = resumed.contents.get(field), contents[field]
        if before not in (None, now) and field not in moved:
            contents_of = Change(path, f"contents {before}", f"contents {now}")
            changes.append(ConfigChange(contents_of, effect_of(path)))
    idle = {f"model.{name}" for name in config.model.idle_fields}
    # A store that lies elsewhere is the same store, and of some vocabularies all frames are the same.
    return [
        dataclasses.replace(change, effect=Effect.NOTHING)
        if resumed.contents.get(change.field) == contents.get(change.field, "")
        or (change.change.path[-1] == "frame" and not frames_differ)
        or change.field in idle
        else change
        for change in changes
    ]


def check_names(names: Iterable[str]) -> None:
    """Check that ``--allow-change`` names fields, or what they belong to.

    Raises:
      ConfigError: for a name that is none, with a suggestion.
    """
    for name in names:
        path = name.split(".")
        known = any(
            _matches(pattern.split(".")[: len(path)], path[: len(pattern.split("."))]) for pattern in EFFECTS
        )
        if not known:
            fields = [field for field, effect in EFFECTS.items() if effect.needs_leave]
            raise ConfigError(f"--allow-change {name} names no field{suggestion(name, fields)}")


def check_changes(
    changes: Sequence[ConfigChange],
    *,
    allowed: Collection[str],
    step: int,
    run: str,
    continued: str | None = None,
) -> None:
    """Check that every change that needs the user's leave has it.

    Args:
      changes: of the configuration and the contents of stores.
      allowed: names of ``--allow-change``.
      step: that the run goes on from.
      run: its directory, for messages.
      continued: the run whose checkpoint that is, if it is another.

    Raises:
      ConfigError: naming the changes, what they do, and how to allow them.
    """
    refused = [change for change in changes if change.effect.needs_leave and not change.allowed_by(allowed)]
    if not refused:
        return
    step_of = f"step {step}{f' of {continued}' if continued else ''}"
    flags = " ".join(f"--allow-change {change.field}" for change in refused)
    raise ConfigError(
        f"run_dir={run} goes on from {step_of}, and would not be the same experiment: {_listed(refused)}; "
        f"change back, start another run_dir, or go on nevertheless by {flags}"
    )


def change_messages(changes: Sequence[ConfigChange], *, continued: str | None = None) -> list[str]:
    """Return what to say about settings that a run goes on with, by what they do.

    Args:
      changes: of the configuration and the contents of stores.
      continued: the run whose checkpoint it goes on from, if it is another.
    """
    messages = []
    since = "changed since this run was started" if continued is None else f"other than in {continued}"
    for effect in Effect:
        of_effect = [change for change in changes if change.effect is effect]
        if continued is not None and effect is Effect.NOTHING:
            continue  # where it lies, what watches it: another run's own
        if of_effect and effect.needs_leave:
            messages.append(f"note: {_listed(of_effect)}; allowed by --allow-change")
        elif of_effect:
            messages.append(f"{since}: {_listed(of_effect)}")
    return messages


def _listed(changes: Sequence[ConfigChange]) -> str:
    """Return the changes with what they do, each effect once."""
    return "; ".join(
        f"{'; '.join(str(change) for change in changes if change.effect is effect)} ({effect.value})"
        for effect in Effect
        if any(change.effect is effect for change in changes)
    )
