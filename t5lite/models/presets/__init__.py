"""The published shapes by name, one file a family. Each family's docstring names its sources."""

import inspect
from difflib import get_close_matches
from functools import partial
from typing import TypeAlias

from t5lite.core.errors import ConfigError
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig, ModelConfig
from t5lite.models.presets import (
    bert,
    gpt,
    large,
    llama,
    mistral,
    modernbert,
    qwen,
    roberta,
    t5,
    t5_efficient,
    t5gemma,
    transformer,
)

Preset: TypeAlias = partial[EncoderDecoderConfig] | partial[EncoderOnlyConfig] | partial[DecoderOnlyConfig]
"""A family's function, which says where the numbers come from, and the numbers."""

PRESETS: dict[str, Preset] = {
    **t5.PRESETS,
    **t5_efficient.PRESETS,
    **t5gemma.PRESETS,
    **transformer.PRESETS,
    **bert.PRESETS,
    **roberta.PRESETS,
    **modernbert.PRESETS,
    **gpt.PRESETS,
    **large.PRESETS,
    **llama.PRESETS,
    **mistral.PRESETS,
    **qwen.PRESETS,
}
"""Every listed shape; ``preset`` also reads the other names of T5-Efficient."""


def preset(name: str) -> ModelConfig:
    """Return the configuration called ``name``; change fields with ``dataclasses.replace``.

    A T5-Efficient name may carry changes (``t5-efficient-tiny-nl8``; see ``t5_efficient.parse``).

    Raises:
      ConfigError: for an unknown name.
    """
    if name.startswith(t5_efficient.PREFIX):
        return t5_efficient.parse(name)
    if name not in PRESETS:
        # bert-base-uncased and gpt2-small are longer names of a preset, whatever else they resemble.
        begun = sorted((each for each in PRESETS if name.startswith(each)), key=len)
        close = begun[-1:] or get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"unknown model {name!r}; {hint}`t5lite models` lists all of them")
    return PRESETS[name]()


def source(name: str) -> str:
    """Return what the family of ``name`` is, where its numbers come from, and what is not kept.

    Raises:
      ConfigError: for an unknown name.
    """
    preset(name)
    listed = name if name in PRESETS else "-".join(name.split("-")[:3])
    return inspect.getdoc(PRESETS[listed].func) or ""
