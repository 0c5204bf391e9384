"""Embeddings that are learned and stand before every row, as tokens would (prompt tuning)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from t5lite.partitioning.rules import RESIDUAL_AXES, constrain


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Prompt:
    """The embeddings by themselves, as they stand beside a model's parameters on their way out."""

    embedding_PD: jax.Array
    """float32."""


class Prompted(nnx.Module):
    """A model that may have such embeddings before its input.

    They are of the segment 1, so that a row has one example.
    """

    def take_prompt(self, prompt_PD: jax.Array) -> None:
        """Put embeddings, as large as embedded tokens, before every row."""
        self.prompt = nnx.Variable(prompt_PD)

    @property
    def num_virtual_tokens(self) -> int:
        """Positions that they take in a row."""
        return len(self.prompt[...]) if hasattr(self, "prompt") else 0

    def behind_prompt(self, x_BLD: jax.Array, first_B: jax.Array | None = None) -> jax.Array:
        """Return embedded rows with the prompt before them, ``[B, P + L, D]``.

        Args:
          x_BLD: embedded tokens.
          first_B: int32 column of each row's first token, behind padding, and then of its prompt; None is 0.
        """
        if not self.num_virtual_tokens:
            return x_BLD
        num, prompt_PD = self.num_virtual_tokens, self.prompt[...].astype(x_BLD.dtype)
        if first_B is None:
            prompt_BPD = jnp.broadcast_to(prompt_PD, (len(x_BLD), *prompt_PD.shape))
            return constrain(jnp.concatenate([prompt_BPD, x_BLD], axis=1), RESIDUAL_AXES)
        behind_BLD = jnp.pad(x_BLD, ((0, 0), (num, 0), (0, 0)))
        place_BL = jnp.arange(behind_BLD.shape[1])[None, :] - first_B[:, None]
        is_prompt_BL1 = ((place_BL >= 0) & (place_BL < num))[..., None]
        prompts_BLD = jnp.take(prompt_PD, jnp.clip(place_BL, 0, num - 1), axis=0)
        return constrain(jnp.where(is_prompt_BL1, prompts_BLD, behind_BLD), RESIDUAL_AXES)

    def marked(self, marks_BL: jax.Array | None) -> jax.Array | None:
        """Return segment ids, or what else marks inputs by 1, with those of the prompt before them."""
        if marks_BL is None or not self.num_virtual_tokens:
            return marks_BL
        return jnp.pad(marks_BL, ((0, 0), (self.num_virtual_tokens, 0)), constant_values=1)

    def without_prompt(self, x_BLD: jax.Array) -> jax.Array:
        """Return rows without what is at the places of the prompt."""
        return x_BLD[:, self.num_virtual_tokens :] if self.num_virtual_tokens else x_BLD
