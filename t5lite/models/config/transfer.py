"""Rates of a small model for a large one: maximal update parametrisation, and its extension to depth."""

from dataclasses import dataclass
from typing import Any

from t5lite.core.errors import ConfigError
from t5lite.core.growth import Growth
from t5lite.core.types import LogicalAxes
from t5lite.models.config.checks import check_positive
from t5lite.models.config.initializers import RESIDUAL_OUTPUTS, Initializer, Kind

_FINITE = ("vocab", "labels")
"""Axes of outputs, which do not grow with the model's width."""
_WIDE = ("embed", "mlp", "heads", "kv_heads", "features")
"""Axes that do: of a model whose heads are as wide as they were, but more."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The size of the model whose learning rate, weight decay and initial scale this one is to be trained by.

    Maximal update parametrisation (Yang et al. 2021, Tensor Programs V) and, with ``num_layers``, CompleteP
    (Dey et al. 2025). At the size that is named it changes nothing. For a model ``w`` times as wide and ``l``
    times as deep, against that one:

    =============================  ==================  =============
    parameter                      initial values      Adam's update
    =============================  ==================  =============
    embeddings, norms, biases      1                   1
    kernels within the network     w^-1/2              1/w
    outputs (vocabulary, labels)   1/w                 1/w
    outputs of residual branches   w^-1/2 / l          1/w / l
    =============================  ==================  =============

    Multipliers of the papers are folded into initial values and updates, which for Adam is the same model
    (Yang et al., appendix J.2.1), so the forward pass and exports are those of any model. Only a tied table,
    which is an embedding and an output, keeps one: its logits are multiplied by 1/w. Weight decay per step is
    the same at every size. Deviation: Adam's ``eps`` is not scaled (Wortsman et al. 2023: when that counts).

    Widths grow together, and heads in number, not in width (``head_dim`` stays what it was).
    """

    embed_dim: int
    """Width of the model whose rates were found."""
    num_layers: int | None = None
    """Layers of each of its stacks; None: depth transfers nothing."""

    def check(self, config: Any) -> None:
        """Check that a model of such a configuration can be grown.

        Raises:
          ConfigError: for a model of several widths, or whose residual branches are not added as they are.
        """
        check_positive(self, "embed_dim", "num_layers", within="transfer.")
        if config.table_dim is not None or len({stack.embed_dim for stack in config.stacks}) > 1:
            raise ConfigError(
                f"transfer.embed_dim={self.embed_dim} is of a model with one width, and this one has several "
                "(encoder_sizes or table_dim); leave out transfer, or these"
            )
        if self.num_layers is not None and config.norm_placement != "pre":
            raise ConfigError(
                f"transfer.num_layers={self.num_layers} is for norm_placement='pre', where the branches of "
                f"all layers are added up, and this model has {config.norm_placement!r}; leave num_layers "
                "out to transfer across widths alone"
            )

    def growing(self, config: Any) -> "Growing":
        """Return how much larger a model of such a configuration is."""
        counts = config.layer_counts.values()
        width = config.embed_dim / self.embed_dim
        return Growing(
            width=width,
            depth=sum(counts) / (self.num_layers * len(counts)) if self.num_layers else 1.0,
            num_layers=self.num_layers * len(counts) if self.num_layers else sum(counts),
            table=width**-0.5 if config.embedding_scale == "sqrt_dim" else 1.0,
        )

    def output_scale(self, config: Any) -> float:
        """Return the factor on the logits of a tied table, which its rows' growth is not in."""
        growing = self.growing(config)
        scale = self.embed_dim**-0.5 if config.logit_scale is None else config.logit_scale
        return scale / growing.width / growing.table


@dataclass(frozen=True, kw_only=True)
class Growing:
    """How much larger a model is than the one whose rates were found."""

    width: float
    """How many times as wide."""
    depth: float
    """How many times as many layers, on average of the stacks; 1: depth transfers nothing."""
    num_layers: int
    """Layers that the initial values of residual branches' outputs go by, of all stacks."""
    table: float
    """Growth of the token table's rows, which ``embedding_scale`` may multiply by the root of the width."""

    def kernel(
        self, kind: Kind, shape: tuple[int, ...], axes: LogicalAxes, *, scheme: Initializer, num_layers: int
    ) -> tuple[Growth, float]:
        """Return the growth of a kernel or table, and what its scheme's initial values are multiplied by.

        Args:
          kind: what it is for.
          shape: of the array.
          axes: their logical names, inputs first.
          scheme: of its initial values, which may grow with the shape by themselves.
          num_layers: of all stacks.
        """
        if kind == "embedding":
            growth = Growth().times(self.table if axes[0] == "vocab" else 1.0)
        else:
            growth = Growth(1 / self.width if axes[-1] in _FINITE else self.width**-0.5, 1 / self.width)
        if kind in RESIDUAL_OUTPUTS:
            growth = growth.times(1 / self.depth)
        return growth, growth.initial / self.by_itself(
            kind, shape, axes, scheme=scheme, num_layers=num_layers
        )

    def by_itself(
        self, kind: Kind, shape: tuple[int, ...], axes: LogicalAxes, *, scheme: Initializer, num_layers: int
    ) -> float:
        """Return how a scheme's initial values change with the size already; arguments as of ``kernel``."""
        before = tuple(
            size / self.width if axis in _WIDE else size for size, axis in zip(shape, axes, strict=True)
        )
        now, then = ((shape, num_layers), (before, self.num_layers))
        return scheme.relative_std(kind, *now) / scheme.relative_std(kind, *then)

    def bias(self, *, residual: bool) -> Growth:
        """Return the growth of a bias or a norm's scale; ``residual``: one that is added to the stream."""
        return Growth(update=1 / self.depth if residual else 1.0)
