"""T5-Efficient: shapes named by their size and how they differ from it, such as ``tiny-nl8``."""

import re
from dataclasses import replace
from functools import partial

from t5lite.core.errors import ConfigError, suggestion
from t5lite.models.config import EncoderDecoderConfig, PlainMLP

PREFIX = "t5-efficient-"
"""What all these names start with."""
GRAMMAR = f"{PREFIX}SIZE[-CHANGE]..."
"""How the names are built; ``CHANGES`` lists the abbreviations of a change, which precede its value."""

CHANGES: dict[str, tuple[str, ...]] = {
    "nl": ("num_encoder_layers", "num_decoder_layers"),
    "el": ("num_encoder_layers",),
    "dl": ("num_decoder_layers",),
    "dm": ("embed_dim",),
    "ff": ("mlp_dim",),
    "nh": ("num_heads",),
    "kv": ("head_dim",),
}
"""The fields that each abbreviation of a name sets."""
_SHARED = ("sh", "skv")
_CHANGE = re.compile(r"([a-z]+)(\d{1,6})?")


def _t5_efficient(
    *, embed_dim: int, mlp_dim: int, num_layers: int, num_heads: int, head_dim: int = 64
) -> EncoderDecoderConfig:
    """T5-Efficient: T5 1.0 (ReLU, tied) at many depths and widths.

    Source: Tay et al. 2021, "Scale Efficiently: Insights from Pre-training and Fine-tuning Transformers",
    table 2, and the cards of google/t5-efficient-*. The cards give heads of 32 for tiny, mini and small;
    their config.json and their parameter counts have 64, and so has this.
    """
    return EncoderDecoderConfig(
        embed_dim=embed_dim,
        mlp_dim=mlp_dim,
        head_dim=head_dim,
        num_heads=num_heads,
        num_encoder_layers=num_layers,
        num_decoder_layers=num_layers,
        mlp=PlainMLP(activation="relu"),
        tie_embeddings=True,
    )


PRESETS: dict[str, partial[EncoderDecoderConfig]] = {
    "t5-efficient-tiny": partial(_t5_efficient, embed_dim=256, mlp_dim=1024, num_layers=4, num_heads=4),
    "t5-efficient-mini": partial(_t5_efficient, embed_dim=384, mlp_dim=1536, num_layers=4, num_heads=8),
    "t5-efficient-small": partial(_t5_efficient, embed_dim=512, mlp_dim=2048, num_layers=6, num_heads=8),
    "t5-efficient-base": partial(_t5_efficient, embed_dim=768, mlp_dim=3072, num_layers=12, num_heads=12),
    "t5-efficient-large": partial(_t5_efficient, embed_dim=1024, mlp_dim=4096, num_layers=24, num_heads=16),
    "t5-efficient-xl": partial(
        _t5_efficient, embed_dim=1024, mlp_dim=16384, num_layers=24, num_heads=32, head_dim=128
    ),
    "t5-efficient-xxl": partial(
        _t5_efficient, embed_dim=1024, mlp_dim=65536, num_layers=24, num_heads=128, head_dim=128
    ),
}
"""The sizes that the names vary."""


def parse(name: str) -> EncoderDecoderConfig:
    """Return the shape that ``name`` spells: a size, then any changes to it.

    ``t5-efficient-tiny-nl8`` is tiny with 8 layers in each stack, ``t5-efficient-base-dl6`` base with 6 in
    the decoder, ``t5-efficient-small-el16-dl2`` small with 16 and 2.

    Raises:
      ConfigError: for an unknown size or abbreviation, one given twice, or a missing value; and for the
        variants that share heads or keys and values, which no released reader supports.
    """
    size, *changes = name.removeprefix(PREFIX).split("-")
    if PREFIX + size not in PRESETS:
        sizes = [each.removeprefix(PREFIX) for each in PRESETS]
        raise ConfigError(f"unknown T5-Efficient size {size!r} in {name!r}{suggestion(size, sizes)}")
    fields: dict[str, int] = {}
    for change in changes:
        match = _CHANGE.fullmatch(change)
        abbreviation, value = match.groups() if match else (change, None)
        if abbreviation in _SHARED:
            raise ConfigError(
                f"{name!r} shares {'heads' if abbreviation == 'sh' else 'keys and values'}, which is not "
                f"supported; allowed changes: {', '.join(CHANGES)}"
            )
        if abbreviation not in CHANGES:
            raise ConfigError(f"unknown change {change!r} in {name!r}{suggestion(abbreviation, CHANGES)}")
        if value is None:
            raise ConfigError(f"the change {change!r} in {name!r} has no value; write it as {change}8")
        for field in CHANGES[abbreviation]:
            if field in fields:
                raise ConfigError(f"{change!r} in {name!r} sets {field} again, already {fields[field]}")
            fields[field] = int(value)
    return replace(PRESETS[PREFIX + size](), **fields)
