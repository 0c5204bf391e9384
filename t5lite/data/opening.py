"""How data is opened, besides what its configuration says."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from t5lite.core.types import PAD_ID
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.mixture_schedule import MixtureHistory

OnDamage: TypeAlias = Literal["stop", "skip"]


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How data is opened; ``open_pipeline`` says what each means."""

    architecture: str | None = None
    start_id: int = PAD_ID
    seed: int = 0
    shuffle: bool = True
    vocabulary_fingerprint: str | None = None
    classes: LabelClasses | None = None
    on_damage: OnDamage = "stop"
    history: MixtureHistory | None = None
    position: int = 0

    @property
    def tolerates_damage(self) -> bool:
        """Whether what is damaged is left out."""
        return self.on_damage == "skip"
