"""Families of shapes by rule: a model of a recipe in several sizes, all else as it is there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from t5lite.core.errors import ConfigError
from t5lite.core.registry import lookup
from t5lite.models.config import ModelConfig
from t5lite.models.presets import preset

OLMO_SIZES: Mapping[str, tuple[int, int, int]] = {
    "190M": (768, 12, 12),
    "370M": (1024, 16, 16),
    "600M": (1344, 16, 16),
    "760M": (1536, 16, 16),
    "1B": (2048, 16, 16),
    "3B": (3328, 16, 16),
}
"""Width, heads and layers of the ladder of Bhagia et al. (2024); the names count its own vocabulary."""


def resized(
    model: ModelConfig,
    *,
    embed_dim: int,
    num_layers: int,
    num_heads: int,
    head_dim: int | None = None,
    mlp_dim: int | None = None,
) -> ModelConfig:
    """Return a model in another size.

    Args:
      model: whose choices are kept, the share of key and value heads among them.
      embed_dim: width.
      num_layers: of each stack.
      num_heads: of each attention.
      head_dim: by default what makes the heads as wide as the model.
      mlp_dim: by default in the proportion that the model has.

    Raises:
      ConfigError: if the model's stacks differ in size, or the sizes make no model.
    """
    if len({(layer.attention.width, layer.mlp_dim) for stack in model.stacks for layer in stack.layers}) > 1:
        raise ConfigError("the sides of this model differ in size, and no rule resizes them; give the models")
    if head_dim is None:
        if embed_dim % num_heads:
            raise ConfigError(f"embed_dim={embed_dim} is not divisible by {num_heads} heads; give head_dim")
        head_dim = embed_dim // num_heads
    sizes: dict[str, Any] = dict.fromkeys(model.layer_counts, num_layers)
    sizes |= {"embed_dim": embed_dim, "num_heads": num_heads, "head_dim": head_dim}
    sizes["mlp_dim"] = mlp_dim or max(round(embed_dim * model.mlp_dim / model.embed_dim), 1)
    if model.num_kv_heads is not None:
        sizes["num_kv_heads"] = max(num_heads * model.num_kv_heads // model.num_heads, 1)
    return replace(model, **sizes)


def constant_aspect(
    model: ModelConfig, widths: Sequence[int], *, aspect: float = 64.0, head_dim: int = 64
) -> list[ModelConfig]:
    """Return a model of each width, with a layer (in each stack) for every ``aspect`` of it.

    Raises:
      ConfigError: if a width is no multiple of ``head_dim``, and as of ``resized``.
    """
    return [
        resized(
            model,
            embed_dim=width,
            num_layers=max(round(width / aspect), 1),
            num_heads=_heads(width, head_dim),
            head_dim=head_dim,
        )
        for width in widths
    ]


def marin(model: ModelConfig, widths: Sequence[int], *, head_dim: int = 128) -> list[ModelConfig]:
    """Return a model of each width, deeper as Marin's isoFLOP sweeps have it: w / (55 + 4 log2 w) layers.

    Its MLP is four times as wide as the model.

    Raises:
      ConfigError: as of ``constant_aspect``.
    """
    return [
        resized(
            model,
            embed_dim=width,
            num_layers=max(round(width / (55 + 4 * math.log2(width))), 1),
            num_heads=_heads(width, head_dim),
            head_dim=head_dim,
            mlp_dim=4 * width,
        )
        for width in widths
    ]


def olmo(model: ModelConfig, names: Sequence[str] = tuple(OLMO_SIZES)) -> list[ModelConfig]:
    """Return the sizes of OLMo's ladder by their names, the MLP four times as wide as the model.

    Raises:
      ConfigError: for an unknown name.
    """
    sizes = [lookup(OLMO_SIZES, name, kind="size of OLMo's ladder") for name in names]
    return [
        resized(model, embed_dim=width, num_layers=layers, num_heads=heads, mlp_dim=4 * width)
        for width, heads, layers in sizes
    ]


def named(model: ModelConfig, names: Sequence[str]) -> list[ModelConfig]:
    """Return published shapes, such as ``t5-efficient-tiny-nl8``, with the recipe's vocabulary and dropout.

    Raises:
      ConfigError: for an unknown name, or a shape of another architecture.
    """
    shapes = []
    for name in names:
        shape = preset(name)
        if shape.architecture != model.architecture:
            raise ConfigError(f"{name} is {shape.architecture}, and the recipe's model {model.architecture}")
        shapes.append(replace(shape.in_place_of(model), vocab_size=model.vocab_size))
    return shapes


def _heads(width: int, head_dim: int) -> int:
    if width % head_dim or width < head_dim:
        raise ConfigError(f"width {width} is no multiple of head_dim={head_dim}; give another head_dim")
    return width // head_dim
