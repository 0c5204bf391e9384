"""The sizes of a stack's layers."""

from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.models.config.checks import check_positive


@dataclass(frozen=True, kw_only=True)
class StackSizes:
    """The sizes of a stack's layers."""

    embed_dim: int
    mlp_dim: int
    head_dim: int
    num_heads: int
    num_kv_heads: int | None = None
    """Heads of keys and values, each shared by a group of query heads; None has one for each query head."""

    def check(self, within: str = "") -> None:
        """Check every range.

        Args:
          within: what the names of the fields begin with in a model (``encoder_sizes.``).

        Raises:
          ConfigError: for a value out of range, and heads that do not share those of keys and values evenly.
        """
        check_positive(self, "embed_dim", "mlp_dim", "head_dim", "num_heads", within=within)
        if self.kv_heads < 1 or self.num_heads % self.kv_heads:
            divisors = [n for n in range(1, self.num_heads + 1) if self.num_heads % n == 0]
            raise ConfigError(
                f"{within}num_kv_heads={self.num_kv_heads} must divide {within}num_heads={self.num_heads}: "
                f"one of {divisors}"
            )

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads
