"""The architectures by name, and the sides of a batch that each reads: all that data has to know of them."""

from typing import Literal, TypeAlias

from t5lite.core.batch_fields import Side

Architecture: TypeAlias = Literal["encoder_decoder", "encoder_only", "decoder_only"]

SIDES_OF: dict[str, tuple[Side, ...]] = {
    "encoder_decoder": ("encoder", "decoder"),
    "encoder_only": ("encoder",),
    "decoder_only": ("decoder",),
}
"""Of every architecture, those that a batch has tokens of, the one that is predicted last."""


def has_one_row(architecture: str) -> bool:
    """Whether inputs and what follows them stand in one row, which a decoder reads alone."""
    return SIDES_OF[architecture] == ("decoder",)


def writes(architecture: str) -> bool:
    """Whether it has a decoder, which learns to write what it is asked for."""
    return SIDES_OF[architecture][-1] == "decoder"
