"""Which settings of a run were changed, at which of its steps, with what effect."""

from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.core.files import write_json
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.storage.addresses import StoragePath
from t5lite.core.strict_json import StrictJson, remedied
from t5lite.runner.config_changes import ConfigChange
from t5lite.runner.resumption import Resumption


@dataclass(frozen=True, kw_only=True)
class RecordedChange:
    """A setting that was changed, values as messages show them."""

    field: str
    change: str
    effect: str
    """What it did to the experiment: a name of ``Effect``."""
    allowed: bool = False
    """Whether ``--allow-change`` named it, where that was needed."""


@dataclass(frozen=True, kw_only=True)
class ConfigHistoryEntry:
    """What was changed when a run went on."""

    step: int
    examples_seen: int
    changes: tuple[RecordedChange, ...]


@dataclass(frozen=True, kw_only=True)
class ConfigHistory:
    """All that was changed in a run, oldest first."""

    entries: tuple[ConfigHistoryEntry, ...] = ()

    def resumed(self, resumed: Resumption, changes: Sequence[ConfigChange]) -> "ConfigHistory":
        """Return the history of a run that goes on from a checkpoint with ``changes``.

        What was changed there or beyond is forgotten: no checkpoint was trained with it.
        """
        entries = [entry for entry in self.entries if entry.step < resumed.step]
        if changes:
            recorded = tuple(
                RecordedChange(
                    field=change.field,
                    change=str(change),
                    effect=change.effect.name.lower(),
                    allowed=change.effect.needs_leave,
                )
                for change in changes
            )
            seen = resumed.position.examples_seen
            entries.append(ConfigHistoryEntry(step=resumed.step, examples_seen=seen, changes=recorded))
        return ConfigHistory(entries=tuple(entries))


VERSIONS = Versions({0: unchanged})
_JSON = StrictJson(versions={ConfigHistory: VERSIONS})


def read_config_history(path: StoragePath) -> ConfigHistory:
    """Return the history in a file, empty if there is none.

    Raises:
      ConfigError: if the file is damaged.
    """
    if not path.is_file():
        return ConfigHistory()
    with remedied("delete it: nothing but the list of what was changed is lost"):
        return _JSON.read(path, ConfigHistory)


def write_config_history(path: StoragePath, history: ConfigHistory) -> None:
    """Save a history; one that is empty needs no file."""
    if history.entries or path.is_file():
        write_json(path, _JSON.unstructure(history, ConfigHistory))
