"""What a family of Hugging Face models consists of, and the words that every family's file is written in."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop.huggingface.tensor_rules import Rule
from t5lite.interop.trees import Shape
from t5lite.models.config import ModelConfig, NormalInitializer, TransformerConfig

Tokens = Mapping[str, int | None]
"""Ids of ``bos``, ``eos`` and ``pad``; None where a vocabulary lacks one, or none is exported."""


OTHER_HEADS = (r"(v_head|score|multiple_choice_head)\..*", r"(transformer|model)\.(v_head|score)\..*")
"""Optional parts of a decoder-only model: what rewards, classifies or chooses beside its language model."""


ONLY_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "first_norm": (True,),
    "attention.scale_dim": (None,),
    "attention.softcap": (None,),
    "attention.qk_norm": (False,),
    "attention.windows": ((None,),),
    "embedding_scale": (1.0,),
    "logit_softcap": (None,),
}
"""What only some families have; the others allow no more than this (``differences``)."""


def _no_names(_: Any) -> dict[str, str]:
    return {}


def _no_shapes(_: Any) -> dict[str, Shape]:
    return {}


def _as_it_is(config: Any, _: "Values", __: Mapping[str, Shape]) -> Any:
    return config


@dataclass(frozen=True, kw_only=True)
class Family:
    """The models of one ``model_type`` (or of several that differ little).

    Attributes:
      model_types: values of config.json's ``model_type`` that it reads.
      marks: keys of config.json that tell it from the others in a file of before ``model_type`` (2019).
      classes: the transformers classes that it reads, where ``model_type`` is another family's as well.
      architecture: class of the configurations that it can be.
      mismatches: why a configuration of that class is not one of the family, a phrase a field.
      class_name: the transformers class that an export is for.
      after_loading: what to do with the model that transformers loads, and why; empty for nothing.
      to_json: config.json's content without ``architectures``, for weights of a dtype.
      generation_json: generation_config.json's content.
      from_json: the configuration that config.json describes; it is checked before weights are looked at.
      completed: that configuration with what only the tensors' names and shapes tell.
      untied: the configuration where ``copies`` says that the output projection is one and its values
        differ; None where that is a fault of the files.
      rules: which tensors hold which parameters; rules of parameters that a model lacks do not apply.
      prefix: of the names of all tensors but ``heads``, absent when the model was saved without its head.
      heads: how the names that never have the prefix begin.
      bare: whether an export leaves the prefix out.
      copies: tensors that may be there and then equal another one, by the other one's name.
      fallbacks: tensors that may be missing and then start as a copy of another one.
      renames: (pattern, replacement) of names that earlier versions wrote.
      ignorable: patterns of tensors that hold no weights: buffers that the model's code makes itself.
      optional_parts: patterns of trained tensors that a class of the family has and the one that is read
        may lack; they are dropped with a warning.
      placeholders: tensors that the class has for what the model here cannot do, by shape: an export has them
        as zeros, lest transformers makes them up.
      default_eos: EOS where config.json does not say, in a family that ends every text with it: the
        vocabulary must agree then. None in a family whose texts may end otherwise.
    """

    model_types: tuple[str, ...]
    architecture: type[TransformerConfig]
    mismatches: Callable[[Any], list[str]]
    class_name: Callable[[Any], str]
    to_json: Callable[[Any, str, Tokens], dict[str, Any]]
    generation_json: Callable[[Any, Tokens], dict[str, Any]]
    from_json: Callable[["Values"], ModelConfig]
    rules: Callable[[Any], tuple[Rule, ...]]
    completed: Callable[[Any, "Values", Mapping[str, Shape]], ModelConfig] = _as_it_is
    untied: Callable[[Any, "Values"], ModelConfig | None] = lambda config, values: None
    marks: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    prefix: str = ""
    heads: tuple[str, ...] = ()
    after_loading: Callable[[Any], str] = lambda _: ""
    bare: Callable[[Any], bool] = lambda _: False
    copies: Callable[[Any], Mapping[str, str]] = _no_names
    fallbacks: Callable[[Any], Mapping[str, str]] = _no_names
    renames: tuple[tuple[str, str], ...] = ()
    ignorable: tuple[str, ...] = ()
    optional_parts: tuple[str, ...] = ()
    placeholders: Callable[[Any], Mapping[str, Shape]] = _no_shapes
    default_eos: int | None = None


def initial_std(config: TransformerConfig) -> float:
    """Return the standard deviation of normal initial values; of another scheme, transformers' default."""
    return config.initializer.std if isinstance(config.initializer, NormalInitializer) else 0.02


def head_width(config: TransformerConfig) -> list[str]:
    """Return a phrase if the heads do not make up the width of the model."""
    if config.num_heads * config.head_dim == config.embed_dim:
        return []
    return [f"num_heads={config.num_heads} x head_dim={config.head_dim} unlike embed_dim={config.embed_dim}"]


def unit_logit_scale(config: TransformerConfig) -> list[str]:
    """Return a phrase if the logits are scaled."""
    if math.isclose(config.output_scale, 1.0):
        return []
    return [f"logits scaled by {config.output_scale:.4g} (only by 1)"]


def same_heads(config: TransformerConfig) -> list[str]:
    """Return a phrase if there are fewer key and value heads than query heads."""
    if config.kv_heads == config.num_heads:
        return []
    return [f"num_kv_heads={config.num_kv_heads} (only one for each of {config.num_heads} heads)"]


def token_ids_of_decoder(_: Any, tokens: Tokens) -> dict[str, Any]:
    """Return generation_config.json's content of a decoder-only model: the ids around its texts."""
    return {f"{name}_token_id": tokens[name] for name in ("bos", "eos", "pad")}


def tied_head(head: str, table: str) -> Callable[[Any], Mapping[str, str]]:
    """Return ``Family.copies`` of a family whose output projection ``head`` may be its ``table``."""
    return lambda config: {head: table} if config.tie_embeddings else {}


class Values:
    """Content of config.json, or of its like, read strictly: a wrong type or value is refused by key.

    A key that is missing or null has transformers' default.

    Args:
      content: of the file, or of an object in it.
      within: what the keys of that object begin with in messages (``encoder.``).
      file: what messages call the file.
    """

    def __init__(self, content: Mapping[str, Any], within: str = "", *, file: str = "config.json"):
        self._content = content
        self._within = within
        self._file = file

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, ``default`` where it is missing or null."""
        value = self._content.get(key)
        return default if value is None else value

    def part(self, key: str) -> "Values":
        """Return the values of an object in it; none where it is missing.

        Raises:
          CheckpointError: if it is something else.
        """
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise CheckpointError(f"{self._file}: {self.name(key)}={value!r} must be an object")
        return Values(value, f"{self.name(key)}.", file=self._file)

    def name(self, key: str) -> str:
        """Return what messages call a key."""
        return f"{self._within}{key}"

    def integer(self, key: str, default: int | None = None, *, minimum: int = 1) -> int:
        """Return an integer of at least ``minimum``, of 31 bits.

        Raises:
          CheckpointError: if it is something else, or missing without a default.
        """
        value = self.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise CheckpointError(f"{self._file}: {self.name(key)}={value!r} must be an integer")
        if not minimum <= value < 2**31:
            bound = f"{minimum} or more" if value < minimum else "less than 2^31"
            raise CheckpointError(f"{self._file}: {self.name(key)}={value} must be {bound}")
        return value

    def head_dim(self, width_key: str, width: int, heads_key: str, num_heads: int) -> int:
        """Return the width of a head where the heads share the width of the model.

        Raises:
          CheckpointError: if that does not come out even.
        """
        if width % num_heads:
            raise CheckpointError(
                f"{self._file}: {self.name(width_key)}={width} is not a multiple of {heads_key}={num_heads}"
            )
        return width // num_heads

    def number(self, key: str, default: float | None = None) -> float:
        """Return a float.

        Raises:
          CheckpointError: if it is something else.
        """
        value = self.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < math.inf:
            raise CheckpointError(f"{self._file}: {self.name(key)}={value!r} must be a number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return a bool.

        Raises:
          CheckpointError: if it is something else.
        """
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise CheckpointError(f"{self._file}: {self.name(key)}={value!r} must be true or false")
        return value

    def choice(self, key: str, allowed: Mapping[str, Any], default: str) -> Any:
        """Return what a word stands for.

        Raises:
          UserError: for any other word.
        """
        value = self.get(key, default)
        if not isinstance(value, str) or value not in allowed:
            raise unsupported(self.name(key), value, allowed)
        return allowed[value]

    def require(self, allowed: Mapping[str, tuple[Any, ...]]) -> None:
        """Check that keys that are there have one of the values allowed.

        Raises:
          UserError: naming key, value and what is allowed.
        """
        for key, values in allowed.items():
            if (value := self.get(key)) is not None and value not in values:
                raise unsupported(self.name(key), value, values)

    def refuse_parts(self) -> None:
        """Check that no value is an object itself.

        Raises:
          UserError: naming the first that is.
        """
        for key, value in self._content.items():
            if isinstance(value, dict):
                raise unsupported(self.name(key), value, ("a number or a word",))

    def says(self, key: str) -> bool:
        """Return whether a key is not there, so that its default counts, or has a value; not for null."""
        return self._content.get(key, "missing") is not None

    def has(self, keys: Collection[str]) -> bool:
        """Return whether all ``keys`` are there."""
        return all(key in self._content for key in keys)

    def names_any_of(self, classes: Collection[str]) -> bool:
        """Return whether ``architectures`` has one of ``classes``."""
        named = self.get("architectures", [])
        return isinstance(named, list) and any(name in classes for name in named)

    def architectures(self, allowed: Collection[str]) -> tuple[str, ...]:
        """Return the transformers classes the weights were saved from; empty where it does not say.

        Raises:
          UserError: if none of them is allowed.
        """
        value = self.get("architectures", [])
        if not isinstance(value, list) or (value and not any(name in allowed for name in value)):
            raise unsupported("architectures", value, allowed)
        return tuple(name for name in value if name in allowed)


def unsupported(key: str, value: Any, allowed: Collection[Any]) -> UserError:
    """Return the error for a value that the models here cannot have."""
    choices = ", ".join(repr(choice) for choice in allowed)
    return UserError(f"config.json: {key}={value!r} is not supported; allowed: {choices}")
