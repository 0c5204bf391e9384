"""What every architecture can choose, and what every architecture answers about itself."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from t5lite.core.batch_fields import Side
from t5lite.core.errors import ConfigError, suggestion
from t5lite.models.config.parts import Output, StackShape, token_output

Dtype = Literal["float32", "bfloat16"]
Architecture = Literal["encoder_decoder", "encoder_only", "decoder_only"]
Positions = Literal["relative", "relative_per_layer", "learned", "sinusoidal", "rotary"]
Norm = Literal["rms", "layer"]
NormPlacement = Literal["pre", "post"]
Activation = Literal["relu", "gelu", "gelu_tanh", "gated_gelu", "swiglu"]
Initializer = Literal["t5", "normal", "scaled_normal", "xavier"]
AttentionBackend = Literal["auto", "reference", "flash", "cudnn"]
Remat = Literal["none", "dots", "full", "save", "offload"]

GATED: tuple[Activation, ...] = ("gated_gelu", "swiglu")
"""Activations of an MLP with two input kernels."""
REMAT_NAMES = (
    "layer_input", "query", "key", "value", "context", "attention_out", "mlp_wi",
)  # fmt: skip
"""What of a layer ``remat_names`` can name: its input, the projected heads, the attention op's result and its
projection, the MLP's input projections."""
EXECUTION_FIELDS = (
    "compute_dtype", "param_dtype", "scan_unroll", "remat", "remat_names", "attention", "dropout_rate",
)  # fmt: skip
"""How a model is computed, as opposed to what it is: free to change when a run resumes."""


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(ABC):
    """What every architecture can choose."""

    vocab_size: int = 32128
    """Rows of the embedding table; at least the vocabulary's size, usually a multiple of 128."""
    embed_dim: int
    """Width of the residual stream."""
    mlp_dim: int
    """Width of the MLP's hidden layer."""
    head_dim: int
    """Width of one attention head; num_heads * head_dim need not equal embed_dim."""
    num_heads: int
    """Attention heads of every attention layer."""
    num_kv_heads: int | None = None
    """Heads of keys and values, each shared by a group of query heads; None has one for each query head."""
    positions: Positions = "relative"
    """T5's relative bias (one table a stack, or one a layer), a learned table, sines, or rotated q and k."""
    relpos_buckets: int = 32
    """Buckets of the relative position bias; half of them for each direction where both are visible."""
    relpos_max_distance: int = 128
    """Distance in tokens from which all relative positions share the last bucket."""
    max_length: int = 512
    """Longest sequence of a learned position table; the other positions have no limit."""
    position_offset: int = 0
    """Rows of the learned table that come before position 0 (2 in OPT)."""
    rotary_base: float = 10_000.0
    """Wavelength base of rotary positions."""
    norm: Norm = "rms"
    """RMSNorm (no mean), or LayerNorm, whose bias follows ``biases``."""
    norm_placement: NormPlacement = "pre"
    """x + f(norm(x)) with a norm after the last layer, or norm(x + f(x)) of 2017 and BERT."""
    norm_epsilon: float = 1e-6
    """Added to the mean square or variance."""
    embedding_norm: bool = False
    """Norm of the embedded tokens before the first layer (BERT)."""
    mlp_activation: Activation = "gated_gelu"
    """relu, exact or tanh-approximated gelu of x W; or gelu_tanh(x W0) * (x W1), silu(x W0) * (x W1)."""
    parallel_block: bool = False
    """x + attention(norm(x)) + mlp(norm(x)), one norm for both (PaLM)."""
    biases: bool = False
    """Biases in attention, MLP and LayerNorm."""
    scale_attention: bool = False
    """Divide attention logits by sqrt(head_dim); T5 has that factor in the initial query kernel instead."""
    tie_embeddings: bool = False
    """Use the embedding table as the output projection too."""
    embedding_scale: float = 1.0
    """Factor on embedded tokens; sqrt(embed_dim) in the Transformer of 2017."""
    logit_scale: float | None = None
    """Factor on the output of the last layer before the logits; None: embed_dim^-0.5 if tied, else 1."""
    table_dim: int | None = None
    """Width of the embedding table where it is narrower than embed_dim, projected in and out (OPT 350M)."""
    initializer: Initializer = "t5"
    """T5X's per-kernel scales, N(0, std), that with residual outputs / sqrt(2 layers) (GPT-2), or Xavier."""
    initializer_std: float = 0.02
    """Standard deviation of the two normal initializers."""
    dropout_rate: float = 0.0
    """Dropout in the places of T5X, broadcast along the length."""
    compute_dtype: Dtype = "float32"
    """Dtype of activations and matrix products; norms, softmax and logits are float32 in any case."""
    param_dtype: Dtype = "float32"
    """Dtype the parameters are stored in."""
    scan_unroll: int = 1
    """Layers per iteration of the loop over layers; 1 compiles fastest, -1 unrolls all (fastest on CPU)."""
    remat: Remat = "none"
    """What the backward pass recomputes: norms and activation functions alone (none); all but matrix products
    (dots); every layer from its input (full); or every layer from its input and ``remat_names``, kept on
    the device (save) or in the memory of the host (offload; the layers' inputs go there by the name
    layer_input)."""
    remat_names: tuple[str, ...] = ()
    """What remat save keeps and remat offload moves to the host; see ``REMAT_NAMES``."""
    attention: AttentionBackend = "auto"
    """Who computes attention: the reference op, the TPU kernel, cuDNN, or what pays on the platform. One
    that cannot compute a call leaves it to the reference and says why, once."""

    architecture: ClassVar[Architecture]
    """Name of the class in messages and files."""

    @property
    @abstractmethod
    def stacks(self) -> tuple[StackShape, ...]:
        """The stacks of layers, the one whose output is predicted from last."""

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that a batch has tokens of."""
        return tuple(stack.side for stack in self.stacks)

    @property
    def writes(self) -> bool:
        """Whether it is a language model with a decoder, which generates text token by token."""
        return self.sides[-1] == "decoder"

    @property
    def cross_attends(self) -> bool:
        """Whether a stack attends to the output of another, which a model can learn to ignore."""
        return any(stack.memory is not None for stack in self.stacks)

    @property
    def num_classes(self) -> int | None:
        """The classes of a row that it tells apart; None: it is no classifier of rows."""
        return None

    @property
    def fills_masks(self) -> bool:
        """Whether it is a masked language model, which names tokens of its own input."""
        return self.predicts_tokens and not self.writes

    @property
    def marks(self) -> tuple[str, ...]:
        """Batch fields that the model reads besides tokens and segment ids, where a batch has them."""
        return ()

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs that a loss is taken of, the main one first; a language model's tokens by default."""
        return (token_output(self.sides[-1]),)

    @property
    def predicts_tokens(self) -> bool:
        """Whether there are logits over the vocabulary at every position of the last side."""
        return True

    @property
    def position_limit(self) -> int | None:
        """The most positions that there are, the rows of a learned table; None: they do not end."""
        return self.max_length if self.positions == "learned" else None

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def kv_heads_axis(self) -> str | None:
        """Logical axis of key and value heads; None for the one head of multi-query attention."""
        if self.kv_heads == self.num_heads:
            return "heads"
        return "kv_heads" if self.kv_heads > 1 else None

    @property
    def head_counts(self) -> dict[str, int]:
        """Number of heads by logical axis: what a mesh must divide, beyond a kernel's heads x kv columns."""
        counts = {"heads": self.num_heads, self.kv_heads_axis: self.kv_heads}
        return {axis: count for axis, count in counts.items() if axis is not None}

    @property
    def gated_mlp(self) -> bool:
        """Whether the MLP has two input kernels."""
        return self.mlp_activation in GATED

    @property
    def output_scale(self) -> float:
        """The factor that ``logit_scale`` stands for."""
        if self.logit_scale is not None:
            return self.logit_scale
        return self.embed_dim**-0.5 if self.tie_embeddings else 1.0

    @property
    def width_of_table(self) -> int:
        """Columns of the embedding table."""
        return self.table_dim or self.embed_dim

    @property
    def norm_parameters(self) -> int:
        """Parameters of one norm."""
        return self.embed_dim * (2 if self.norm == "layer" and self.biases else 1)

    @property
    def head_parameters(self) -> int:
        """Parameters that are neither in a stack nor in the embedding table: an untied output projection."""
        return 0 if self.tie_embeddings else self.vocab_size * self.width_of_table

    def head_flops(self, length: int) -> int:
        """Return the FLOPs from the last stack's output to the outputs, for a row of ``length``."""
        return self.logits_flops(length)

    def logits_flops(self, length: int) -> int:
        """Return the FLOPs of the projection to the vocabulary, through the width of a narrow table."""
        return self.table_flops(length) + 2 * length * self.width_of_table * self.vocab_size

    def table_flops(self, length: int) -> int:
        """Return the FLOPs of projecting a narrow table's rows to the model's width, or back."""
        return 2 * length * self.table_dim * self.embed_dim if self.table_dim is not None else 0

    @property
    def layer_counts(self) -> dict[str, int]:
        """Number of layers by field name."""
        return {name: getattr(self, name) for name in self._layer_fields}

    _layer_fields: ClassVar[tuple[str, ...]] = ("num_layers",)

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
          ConfigError: for a value out of range or a combination that makes no model.
        """
        self.check_positive(
            "vocab_size", "embed_dim", "mlp_dim", "head_dim", "num_heads", "max_length", *self._layer_fields
        )
        self._check_choices()
        self._check_remat_names()
        self._check_positions()
        if self.kv_heads < 1 or self.num_heads % self.kv_heads:
            divisors = [n for n in range(1, self.num_heads + 1) if self.num_heads % n == 0]
            raise ConfigError(
                f"num_kv_heads={self.num_kv_heads} must divide num_heads={self.num_heads}: one of {divisors}"
            )
        if self.parallel_block and self.norm_placement != "pre":
            raise ConfigError(
                "parallel_block=True needs norm_placement='pre': attention and MLP share the norm before them"
            )
        if self.table_dim is not None and self.table_dim < 1:
            raise ConfigError(f"table_dim={self.table_dim} must be at least 1, or None for embed_dim")
        if not 0.0 <= self.dropout_rate < 1.0:
            raise ConfigError(f"dropout_rate={self.dropout_rate} must be in [0, 1)")
        for name in ("norm_epsilon", "embedding_scale", "output_scale", "initializer_std", "rotary_base"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)} must be positive and finite")
        if self.scan_unroll != -1 and self.scan_unroll < 1:
            raise ConfigError(
                f"scan_unroll={self.scan_unroll} must be -1 (all layers) or a number of layers from 1"
            )

    def check_positive(self, *names: str) -> None:
        """Check that fields are at least 1.

        Raises:
          ConfigError: naming the first that is not.
        """
        for name in names:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")

    def _check_choices(self) -> None:
        choices = {
            "positions": Positions,
            "norm": Norm,
            "norm_placement": NormPlacement,
            "mlp_activation": Activation,
            "initializer": Initializer,
            "compute_dtype": Dtype,
            "param_dtype": Dtype,
            "remat": Remat,
            "attention": AttentionBackend,
        }
        for name, literal in choices.items():
            check_choice(name, getattr(self, name), get_args(literal))

    def _check_remat_names(self) -> None:
        for name in self.remat_names:
            check_choice("remat_names entry", name, REMAT_NAMES)
        takes_names = self.remat in ("save", "offload")
        if takes_names and not self.remat_names:
            raise ConfigError(
                f"remat={self.remat!r} needs remat_names, one or more of {', '.join(REMAT_NAMES)}; "
                "or use remat='full'"
            )
        if self.remat_names and not takes_names:
            raise ConfigError(
                f"remat_names={self.remat_names} has no effect with remat={self.remat!r}; use "
                "remat='save' or 'offload', or leave the names out"
            )

    def _check_positions(self) -> None:
        if self.positions.startswith("relative"):
            if self.relpos_buckets < 4 or self.relpos_buckets % 4:
                raise ConfigError(f"relpos_buckets={self.relpos_buckets} must be a positive multiple of 4")
            if self.relpos_max_distance <= self.relpos_buckets // 2:
                raise ConfigError(
                    f"relpos_max_distance={self.relpos_max_distance} must exceed the "
                    f"{self.relpos_buckets // 2} distances that have a bucket of their own "
                    f"(relpos_buckets={self.relpos_buckets}); raise it or use fewer buckets"
                )
        if self.positions == "rotary" and self.head_dim % 2:
            raise ConfigError(f"head_dim={self.head_dim} must be even: rotary positions turn pairs")
        if self.positions == "sinusoidal" and self.embed_dim % 2:
            raise ConfigError(f"embed_dim={self.embed_dim} must be even: a sine and a cosine each")
        if self.position_offset < 0:
            raise ConfigError(f"position_offset={self.position_offset} must not be negative")

    def check_length(self, length: int) -> None:
        """Check that a sequence of ``length`` tokens has a position for each.

        Raises:
          ConfigError: if a learned table is shorter.
        """
        limit = self.position_limit
        if limit is not None and length > limit:
            raise ConfigError(
                f"a sequence of {length} tokens is longer than the {limit} rows of the learned "
                f"position table; use at most {limit}, or raise model.max_length before training"
            )


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Check that a value is one of those allowed.

    Raises:
      ConfigError: naming the nearest.
    """
    if value not in allowed:
        raise ConfigError(f"unknown {name}={value!r}{suggestion(str(value), allowed)}")
