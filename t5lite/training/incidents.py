"""What a run met and got over, counted."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Literal, TypeAlias

from t5lite.core.errors import ConfigError

IncidentKind: TypeAlias = Literal["rollbacks", "damaged_checkpoints", "failed_saves", "blank_rows"]


@dataclass(frozen=True, kw_only=True)
class Incidents:
    """Counts of what did not end an attempt."""

    rollbacks: int = 0
    """The numbers went bad, and it went back to an earlier checkpoint."""
    damaged_checkpoints: int = 0
    """Passed over for an older one."""
    failed_saves: int = 0
    blank_rows: int = 0
    """Rows of the leader left blank for damage in their store (``loader.on_damage``); others say theirs."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < 0:
                raise ConfigError(f"{each.name} is negative")

    @staticmethod
    def sum(each: Iterable["Incidents"]) -> "Incidents":
        """Return the counts of several attempts together."""
        counts = [asdict(incidents) for incidents in each]
        return Incidents(**{f.name: sum(count[f.name] for count in counts) for f in fields(Incidents)})


def described(incidents: Incidents, left_out_examples: int) -> str:
    """Return what to say of them, and of how many examples are left out; nothing where there is nothing."""
    parts = (
        (incidents.rollbacks, "rollback", "rollbacks", ""),
        (left_out_examples, "example", "examples", " left out"),
        (incidents.damaged_checkpoints, "damaged checkpoint", "damaged checkpoints", " passed over"),
        (incidents.failed_saves, "failed save", "failed saves", ""),
        (incidents.blank_rows, "row", "rows", " left blank for damage"),
    )
    return ", ".join(
        f"{count:,} {one if count == 1 else many}{what}" for count, one, many, what in parts if count
    )
