"""Prompt tuning (Lester et al. 2021): embeddings that are learned stand before every input."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.adapters.base import BaseAdapter
from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.models.layers.prompted import Prompt
from t5lite.optim.trained import Trained
from t5lite.optim.trained import merged as with_leaves

_OWN = "prompt"
_FREQUENT = 5000
"""So many first ids are drawn from: SentencePiece has the most frequent pieces first."""
_SPECIAL = 3
"""First ids that are no pieces of text: padding, EOS, unknown."""


@dataclass(frozen=True, kw_only=True)
class PromptTuning(BaseAdapter):
    """``num_tokens`` embeddings before the input of a model that writes, which stays as it is.

    They stand before the encoder's input of an encoder-decoder, and before the first token of a decoder
    alone, where they take positions of the row. What is trained is the difference to where they begin, so
    that weight decay draws them there.
    """

    num_tokens: int = 20
    """Lester et al. had 100, and little gain beyond 20."""
    initialization: Literal["vocabulary", "random"] = "vocabulary"
    """Where they begin: at embeddings of different frequent tokens, or at U(-0.5, 0.5)."""
    seed: int = 0
    """Which tokens these are."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_tokens <= _FREQUENT:
            raise ConfigError(f"adapter.num_tokens={self.num_tokens} must be from 1 to {_FREQUENT}")
        if self.seed < 0:
            raise ConfigError(f"adapter.seed={self.seed} must be 0 or more")

    @property
    def merges(self) -> bool:
        """False: no model without the prompt computes the same."""
        return False

    def check_rows(self, *, hold_several: bool) -> None:
        """Check that each row of training data is one example: there is one prompt a row."""
        if hold_several:
            raise ConfigError(
                "adapter=PromptTuning puts one prompt before each row, and data.pack=True puts several "
                "examples into a row; set data.pack=False"
            )

    def narrowed(self, config: ModelConfig) -> ModelConfig:
        """Return the model without the positions that the prompt takes."""
        return config.behind(self.num_tokens)

    def check_length(self, config: ModelConfig, length: int) -> None:
        """Check that a sequence of ``length`` tokens has a position for each, behind the prompt."""
        super().check_length(config, length)
        left = self.narrowed(config).position_limit
        if left is not None and length > left:
            raise ConfigError(
                f"a sequence of {length} tokens is longer than the {left} positions that "
                f"adapter.num_tokens={self.num_tokens} leaves of the model's {config.position_limit}; use at "
                f"most {left}, or fewer virtual tokens"
            )

    def shapes(self, model: FunctionalModel) -> tuple[Tree, Tree]:
        """Return one table ``[num_tokens, embed]`` in float32."""
        config: Any = model.config
        if not hasattr(config.module(), "take_prompt"):
            raise ConfigError(
                "adapter=PromptTuning stands before the input of a model that writes, and the model is "
                f"{config.architecture}; adapt it by adapter=LoRA"
            )
        if self.initialization == "vocabulary" and self.num_tokens > len(self._frequent(model)):
            raise ConfigError(
                f"adapter.num_tokens={self.num_tokens} must be at most {len(self._frequent(model))}, the "
                "frequent tokens at which they begin; or set adapter.initialization='random'"
            )
        shape = (self.num_tokens, config.stacks[0].embed_dim)
        return (
            {_OWN: {"embedding": jax.ShapeDtypeStruct(shape, jnp.float32)}},
            {_OWN: {"embedding": ("positions", "embed")}},
        )

    def init(self, model: FunctionalModel, key: jax.Array) -> Tree:
        """Return zeros, or random values."""
        shape = self.shapes(model)[0][_OWN]["embedding"].shape
        if self.initialization == "vocabulary":
            return self.own_params(jnp.zeros(shape, jnp.float32))
        return self.own_params(jax.random.uniform(key, shape, jnp.float32, minval=-0.5, maxval=0.5))

    def own_params(self, prompt_PD: Any) -> Tree:
        """Return the adapter's parameters: the difference to where the prompt began."""
        return {_OWN: {"embedding": prompt_PD}}

    def bound(self, model: FunctionalModel, params: Tree, own: Tree, dropout_key: jax.Array | None) -> Any:
        """Return the module with the prompt."""
        module = model.bind(params, dropout_key=dropout_key)
        prompt_PD = own[_OWN]["embedding"]
        if self.initialization == "vocabulary":
            embedder = getattr(module, "encoder_embedder", module.token_embedder)
            prompt_PD += embedder(jnp.asarray(self._tokens(model))[None])[0].astype(jnp.float32)
        module.take_prompt(prompt_PD)
        return module

    def _tokens(self, model: FunctionalModel) -> np.ndarray:
        """Return the ids of the tokens at whose embeddings the prompt begins."""
        return np.random.default_rng(self.seed).choice(self._frequent(model), self.num_tokens, replace=False)

    @staticmethod
    def _frequent(model: FunctionalModel) -> np.ndarray:
        return np.arange(_SPECIAL, min(_FREQUENT, model.config.vocab_size), dtype=np.int32)

    def applied(self, model: FunctionalModel, params: Tree, own: Tree, dropout_key: jax.Array | None) -> Tree:
        """Return the parameters: none of them is changed."""
        del model, own, dropout_key
        return params

    def read_for_alone(self, model: FunctionalModel) -> tuple[str, ...]:
        """Return the table at whose rows the prompt began, if it did."""
        if self.initialization == "random":
            return ()
        return model.config.input_parameters(model.config.stacks[0].side)

    def alone(self, model: FunctionalModel, params: Tree, own: Tree, read: Tree) -> Tree:
        """Return the parameters as they are, and the whole ``Prompt`` beside them."""
        prompted = self.bound(model, with_leaves(params, read), own, None)
        return {**params, _OWN: Prompt(prompted.prompt[...])}

    def merged(self, model: FunctionalModel, params: Tree, own: Tree) -> Tree:
        """Refuse: see ``merges``."""
        raise ConfigError(
            "adapter=PromptTuning does not merge: no model without the prompt computes the same; read the run"
        )

    def trained(self, trainable: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the patterns of the prompt, and those of ``trainable``."""
        return (_OWN, *(trainable or ()))

    def check_trained(self, model: FunctionalModel, trained: Trained) -> None:
        """Check that the prompt is not left out."""
        del model
        if any(path.startswith(f"{_OWN}/") for path in trained.frozen):
            raise ConfigError(
                "trainable leaves out the prompt that adapter=PromptTuning trains; take '!prompt' out"
            )

    def goes_on_as(self, other: BaseAdapter) -> bool:
        """Whether all is the same."""
        return other == self
