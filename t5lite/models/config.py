"""Shape and numeric policy of the three architectures; a published model is a value of one of them.

Each class's defaults are those of its best-known family: T5 1.1, BERT, Llama.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

from t5lite.core.errors import ConfigError, suggestion

Dtype = Literal["float32", "bfloat16"]
Architecture = Literal["encoder_decoder", "encoder_only", "decoder_only"]
Positions = Literal["relative", "relative_per_layer", "learned", "sinusoidal", "rotary"]
Norm = Literal["rms", "layer"]
NormPlacement = Literal["pre", "post"]
Activation = Literal["relu", "gelu", "gelu_tanh", "gated_gelu", "swiglu"]
Initializer = Literal["t5", "normal", "scaled_normal", "xavier"]
PrefixAttention = Literal["causal", "bidirectional"]
AttentionBackend = Literal["auto", "reference", "flash", "cudnn"]
Remat = Literal["none", "dots", "full", "save", "offload"]
Head = Literal[
    "hidden", "pooled", "masked_lm", "pretraining", "sequence_classification", "token_classification",
    "span_extraction",
]  # fmt: skip

GATED: tuple[Activation, ...] = ("gated_gelu", "swiglu")
"""Activations of an MLP with two input kernels."""
POOLED_HEADS: tuple[Head, ...] = ("pooled", "pretraining", "sequence_classification")
"""Heads that read the first position through a pooler."""
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
class TransformerConfig:
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
    def layer_counts(self) -> dict[str, int]:
        """Number of layers by field name."""
        return {name: getattr(self, name) for name in self._layer_fields}

    _layer_fields: ClassVar[tuple[str, ...]] = ("num_layers",)

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
          ConfigError: for a value out of range or a combination that makes no model.
        """
        self._check_positive(
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

    def _check_positive(self, *names: str) -> None:
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
            _check_choice(name, getattr(self, name), get_args(literal))

    def _check_remat_names(self) -> None:
        for name in self.remat_names:
            _check_choice("remat_names entry", name, REMAT_NAMES)
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
        if self.positions == "learned" and length > self.max_length:
            raise ConfigError(
                f"a sequence of {length} tokens is longer than the {self.max_length} rows of the learned "
                f"position table; use at most {self.max_length}, or raise model.max_length before training"
            )


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"unknown {name}={value!r}{suggestion(str(value), allowed)}")


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(TransformerConfig):
    """An encoder-decoder Transformer: T5 1.0 is relu and tied, T5 1.1 is gated_gelu and untied."""

    num_encoder_layers: int
    """Layers of the encoder."""
    num_decoder_layers: int
    """Layers of the decoder."""

    architecture: ClassVar[Architecture] = "encoder_decoder"
    _layer_fields: ClassVar[tuple[str, ...]] = ("num_encoder_layers", "num_decoder_layers")


@dataclass(frozen=True, kw_only=True)
class DecoderOnlyConfig(TransformerConfig):
    """A decoder-only Transformer, a causal language model; the defaults are Llama's choices."""

    num_layers: int
    """Layers."""
    prefix_attention: PrefixAttention = "causal"
    """Whether the inputs of a row (a prompt, ``decoder_bidirectional``) see only what precedes them, or all
    inputs (prefix LM; Raffel et al. 2019). Targets see what precedes them in any case."""
    positions: Positions = "rotary"
    norm_epsilon: float = 1e-5
    mlp_activation: Activation = "swiglu"
    scale_attention: bool = True
    logit_scale: float | None = 1.0
    initializer: Initializer = "normal"

    architecture: ClassVar[Architecture] = "decoder_only"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("prefix_attention", self.prefix_attention, get_args(PrefixAttention))


@dataclass(frozen=True, kw_only=True)
class EncoderOnlyConfig(TransformerConfig):
    """An encoder-only Transformer with a head; the defaults are BERT's choices."""

    num_layers: int
    """Layers."""
    head: Head = "masked_lm"
    """What is computed from the encoder's output; ``encoder_only.EncoderOnly`` describes each."""
    num_labels: int = 2
    """Classes of the two classification heads."""
    num_token_types: int = 2
    """Rows of the token type table (sentence A or B); 0 has none."""
    positions: Positions = "learned"
    norm: Norm = "layer"
    norm_placement: NormPlacement = "post"
    norm_epsilon: float = 1e-12
    embedding_norm: bool = True
    mlp_activation: Activation = "gelu"
    biases: bool = True
    scale_attention: bool = True
    tie_embeddings: bool = True
    logit_scale: float | None = 1.0
    initializer: Initializer = "normal"

    architecture: ClassVar[Architecture] = "encoder_only"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("head", self.head, get_args(Head))
        self._check_positive("num_labels")
        if self.num_token_types < 0:
            raise ConfigError(f"num_token_types={self.num_token_types} must not be negative")
        if self.head in ("masked_lm", "pretraining") and not self.tie_embeddings:
            raise ConfigError(
                f"head={self.head!r} predicts tokens with the embedding table; set tie_embeddings=True"
            )

    @property
    def has_pooler(self) -> bool:
        """Whether the head reads the first position through a pooler."""
        return self.head in POOLED_HEADS


ModelConfig: TypeAlias = EncoderDecoderConfig | EncoderOnlyConfig | DecoderOnlyConfig
"""The configuration of any architecture."""
