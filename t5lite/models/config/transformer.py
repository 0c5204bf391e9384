"""What every architecture can choose, and what every architecture answers about itself."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from t5lite.core.architectures import Architecture
from t5lite.core.batch_fields import BatchSpec, Side
from t5lite.core.errors import ConfigError
from t5lite.core.types import PAD_ID
from t5lite.models.config.attention import AttentionConfig
from t5lite.models.config.checks import check_choice, check_finite, check_positive
from t5lite.models.config.heads import LANGUAGE_MODEL, Head
from t5lite.models.config.initializers import Initializer, T5Initializer
from t5lite.models.config.layers import AttentionSpec, LayerSpec, StackSpec, attentions, head_counts
from t5lite.models.config.mlps import GatedMLP, MLPKind
from t5lite.models.config.norms import NormKind, NormPlacement, RMSNorm
from t5lite.models.config.parts import (
    PROJECTION_IN,
    PROJECTION_OUT,
    TOKEN_TABLE,
    HeadKernel,
    Output,
    token_output,
)
from t5lite.models.config.pooling import TextVectors
from t5lite.models.config.positions import PositionKind, RelativePositions
from t5lite.models.config.sizes import StackSizes
from t5lite.models.config.transfer import Transfer


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(TextVectors, ABC):
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
    max_length: int = 512
    """Longest sequence of a learned position table; the other positions have no limit."""
    positions: PositionKind = RelativePositions()
    """T5's relative bias, a learned table, sines, or rotated queries and keys."""
    norm: NormKind = RMSNorm()
    """RMSNorm or LayerNorm."""
    norm_placement: NormPlacement = "pre"
    """Before each block, after its sum with the residual stream, or around each block."""
    first_norm: bool = True
    """False leaves the norm before the first layer's attention out (ModernBERT, after its embedding_norm)."""
    embedding_norm: bool = False
    """Norm of the embedded tokens before the first layer (BERT)."""
    mlp: MLPKind = GatedMLP()
    """Plain or gated, with its activation."""
    parallel_block: bool = False
    """x + attention(norm(x)) + mlp(norm(x)), one norm for both (PaLM)."""
    attention: AttentionConfig = AttentionConfig()
    """Scale, cap, norms, biases and windows of attention."""
    tie_embeddings: bool = False
    """Use the embedding table as the output projection too."""
    embedding_scale: float | Literal["sqrt_dim"] = 1.0
    """Factor on embedded tokens; sqrt_dim is the root of the table's width (Vaswani et al. 2017, Gemma)."""
    logit_scale: float | None = None
    """Factor on the output of the last layer before the logits; None: embed_dim^-0.5 if tied, else 1."""
    logit_softcap: float | None = None
    """softcap * tanh(logits / softcap) of the logits over the vocabulary (Gemma 2)."""
    table_dim: int | None = None
    """Width of the embedding table where it is narrower than embed_dim, projected in and out (OPT 350M)."""
    initializer: Initializer = T5Initializer()
    """T5X's per-kernel scales, N(0, std), or Xavier."""
    dropout_rate: float = 0.0
    """Dropout in the places of T5X, broadcast along the length."""
    transfer: Transfer | None = None
    """The size of a smaller model by whose rates this one is trained (maximal update parametrisation)."""

    architecture: ClassVar[Architecture]
    """What its rows are like: what trains it, and how it writes."""
    head = LANGUAGE_MODEL
    """What is predicted; a field of an architecture with several heads."""

    @classmethod
    @abstractmethod
    def module(cls) -> Callable[..., Any]:
        """Return the class that computes it, of ``(config, execution, rngs)``.

        Imported when it is asked for: a configuration is read and checked without JAX.
        """

    @property
    @abstractmethod
    def stacks(self) -> tuple[StackSpec, ...]:
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
    def decoder_start_id(self) -> int:
        """The id that stands in front of a text that a decoder writes from nothing."""
        return PAD_ID

    @property
    def predicted_metrics(self) -> tuple[str, ...]:
        """Names of metrics of what a head predicts of labelled examples; none of a model that writes."""
        return ()

    @property
    def idle_fields(self) -> tuple[str, ...]:
        """Names of fields that the head makes nothing of: whatever they are, it is the same model."""
        return ()

    @property
    def num_classes(self) -> int | None:
        """The classes of a row that it tells apart; None: it is no classifier of rows."""
        return None

    @property
    def num_named_labels(self) -> int | None:
        """The labels, of rows or of tokens, that have names of the user's; None: it has none such."""
        return None

    @property
    def labels_group(self) -> str | None:
        """Group of the parameters of a dense layer to a few labels; None: it has none."""
        return None

    @property
    def head_choice(self) -> tuple[Head, int] | None:
        """The head and its classes, where there are several to choose from; None: there is one."""
        return None

    def check_fields(self, fields: Collection[str]) -> None:
        """Check that the model can read what a batch of such fields says of its tokens.

        Raises:
          ConfigError: naming what it lacks.
        """
        del fields

    @property
    def fills_masks(self) -> bool:
        """Whether it is a masked language model, which names tokens of its own input."""
        return self.predicts_tokens and not self.writes

    @property
    def marks(self) -> tuple[str, ...]:
        """Batch fields that the model reads besides tokens and segment ids, where a batch has them."""
        return ()

    @property
    def tells_sentences_apart(self) -> bool:
        """Whether both texts of a pair have token types of their own."""
        return False

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs that a loss is taken of, the main one first; a language model's tokens by default."""
        return (token_output(self.sides[-1]),)

    def batch_spec(
        self, lengths: Mapping[Side, int], *, segment_ids: bool = False, marks: Collection[str] = ()
    ) -> BatchSpec:
        """Return what a batch that trains it has: the tokens of its sides, and what its outputs learn from.

        Args:
          lengths: of the sides; that of one that it has not does not count.
          segment_ids: whether rows are padded or packed.
          marks: further fields of the batch.

        Raises:
          ConfigError: for a head that predicts nothing.
        """
        fields = {f"{side}_input_tokens" for side in self.sides}
        if segment_ids:
            fields |= {f"{side}_segment_ids" for side in self.sides}
        fields |= {field for output in self.outputs for field in output.fields}
        return BatchSpec(
            fields=frozenset(fields | {*marks}),
            encoder_length=lengths["encoder"],
            decoder_length=lengths["decoder"],
        )

    @property
    def predicts_tokens(self) -> bool:
        """Whether there are logits over the vocabulary at every position of the last side."""
        return True

    @property
    def position_limit(self) -> int | None:
        """The most positions that there are, the rows of a learned table; None: they do not end."""
        return self.max_length if self.positions.num_rows(self.max_length) else None

    @property
    def sizes(self) -> StackSizes:
        """The sizes of its layers."""
        return StackSizes(
            embed_dim=self.embed_dim,
            mlp_dim=self.mlp_dim,
            head_dim=self.head_dim,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
        )

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.sizes.kv_heads

    @property
    def sees_later_inputs(self) -> bool:
        """Whether a decoder's inputs see later ones."""
        return False

    @property
    def kv_heads_axes(self) -> tuple[str | None, ...]:
        """The logical axes of key and value heads; None is the one head of multi-query attention."""
        return tuple(dict.fromkeys(attention.kv_heads_axis for attention in attentions(self.stacks)))

    @property
    def head_counts(self) -> dict[str, tuple[int, ...]]:
        """Numbers of heads by logical axis: what a mesh must divide, beyond a kernel's heads x kv columns."""
        return head_counts(self.stacks)

    def stack(
        self,
        side: Side,
        num_layers: int,
        *,
        sizes: StackSizes | None = None,
        memory: Side | None = None,
        memory_dim: int | None = None,
        merged: bool = False,
    ) -> StackSpec:
        """Return a stack of this model's layers.

        Args:
          side: whose tokens it reads.
          num_layers: of the stack.
          sizes: of its layers; None for the model's.
          memory: whose output its layers attend to.
          memory_dim: width of that; None for the stack's own.
          merged: whether self-attention is over that too, and there is no cross-attention.
        """
        sizes = sizes or self.sizes
        crosses = None if memory is None or merged else memory_dim or sizes.embed_dim
        windows = self.attention.windows
        cycle = tuple(self._layer(side, sizes, window, crosses, merged=merged) for window in windows)
        first: tuple[LayerSpec, ...] = ()
        if not self.first_norm:
            first = (dataclasses.replace(cycle[0], attention_norm=False),)
            cycle = cycle[1:] + cycle[:1]
        return StackSpec(
            side=side,
            num_layers=num_layers,
            cycle=cycle,
            first=first,
            memory=memory,
            positions=self.positions,
            norm=self.norm,
            embedding_norm=self.embedding_norm,
            max_length=self.max_length,
        )

    def _layer(
        self, side: Side, sizes: StackSizes, window: int | None, memory_dim: int | None, *, merged: bool
    ) -> LayerSpec:
        own = AttentionSpec(
            embed_dim=sizes.embed_dim,
            memory_dim=sizes.embed_dim,
            num_heads=sizes.num_heads,
            kv_heads=sizes.kv_heads,
            head_dim=sizes.head_dim,
            scale=self.attention.scale(sizes.head_dim),
            softcap=self.attention.softcap,
            qk_norm=self.norm if self.attention.qk_norm else None,
            biases=self.attention.biases,
            window=self.attention.reach(side, window, sees_later=self.sees_later_inputs),
            rotation=self.positions.rotation(windowed=window is not None),
            merged=merged,
        )
        cross = None
        if memory_dim is not None:
            # A memory is seen whole, and has no positions of its own in it.
            cross = dataclasses.replace(own, memory_dim=memory_dim, window=None, rotation=None)
        return LayerSpec(
            attention=own,
            cross_attention=cross,
            mlp=self.mlp,
            mlp_dim=sizes.mlp_dim,
            norm=self.norm,
            norm_placement=self.norm_placement,
            parallel=self.parallel_block,
            relative_positions=self.positions.layer_bias,
        )

    @property
    def output_scale(self) -> float:
        """The factor that ``logit_scale`` stands for."""
        if self.transfer is not None and self.tie_embeddings:
            return self.transfer.output_scale(self)
        if self.logit_scale is not None:
            return self.logit_scale
        return self.embed_dim**-0.5 if self.tie_embeddings else 1.0

    def scale_of_embeddings(self, width: int) -> float:
        """Return the factor that ``embedding_scale`` stands for, of a table of a width."""
        return width**0.5 if self.embedding_scale == "sqrt_dim" else self.embedding_scale

    @property
    def width_of_table(self) -> int:
        """Columns of the embedding table."""
        return self.table_dim or self.embed_dim

    def input_parameters(self, side: Side) -> tuple[str, ...]:
        """Return the paths of the parameters that make the input of the stack of a side."""
        del side
        return (TOKEN_TABLE,) if self.table_dim is None else (TOKEN_TABLE, PROJECTION_IN)

    @property
    def head_kernels(self) -> tuple[HeadKernel, ...]:
        """The kernels between the last stack's output and the outputs: the products of ``head_flops``."""
        return self.vocabulary_kernels()

    def vocabulary_kernels(self, after: tuple[str, ...] = ()) -> tuple[HeadKernel, ...]:
        """Return the kernels of the projection to the vocabulary: the products of ``logits_flops``.

        Args:
          after: the parameters between the last stack's output and the projection.
        """
        path = TOKEN_TABLE if self.tie_embeddings else "logits/kernel"
        if self.table_dim is None:
            return (HeadKernel(path, after),)
        return HeadKernel(PROJECTION_OUT, after), HeadKernel(path, (*after, PROJECTION_OUT))

    @property
    def head_parameters(self) -> int:
        """Parameters that are neither in a stack nor in the embedding table: an untied output projection."""
        return 0 if self.tie_embeddings else self.vocab_size * self.width_of_table

    @property
    def head_tables(self) -> int:
        """Those of ``head_parameters`` that are tables, a row for each token of the vocabulary."""
        return self.head_parameters

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
        check_positive(self, "vocab_size", "max_length", "table_dim", *self._layer_fields)
        self.sizes.check()
        self.positions.check(head_dim=self.head_dim, embed_dim=self.embed_dim)
        check_choice("norm_placement", self.norm_placement, get_args(NormPlacement))
        if self.parallel_block and self.norm_placement != "pre":
            raise ConfigError(
                "parallel_block=True needs norm_placement='pre': attention and MLP share the norm before them"
            )
        if not self.first_norm and (self.norm_placement == "post" or self.parallel_block):
            raise ConfigError(
                "first_norm=False leaves out a norm before attention alone; it needs norm_placement='pre' or "
                "'around' and parallel_block=False"
            )
        if not 0.0 <= self.dropout_rate < 1.0:
            raise ConfigError(f"dropout_rate={self.dropout_rate} must be in [0, 1)")
        if self.transfer is not None:
            self.transfer.check(self)
        check_finite(self, "output_scale", "logit_softcap")
        if self.embedding_scale != "sqrt_dim":
            check_finite(self, "embedding_scale")

    def in_place_of(self, model: "TransformerConfig") -> Self:
        """Return this model with what a recipe decides taken from the recipe's ``model``: the dropout.

        The vocabulary size is its own: it must hold the run's vocabulary (``runner.vocabulary_check``).
        """
        return dataclasses.replace(self, dropout_rate=model.dropout_rate)

    def with_head(self, head: Head | None, num_labels: int | None) -> Self:
        """Return this model with another head, or other labels of it; None keeps what it has.

        Raises:
          ConfigError: if there is none to choose, or the head has no such labels.
        """
        said = f"num_labels={num_labels}" if head is None else f"head={head!r}"
        raise ConfigError(
            f"{said} is of an encoder-only model, and this one is {self.architecture}; leave it out"
        )

    def behind(self, num_virtual_tokens: int) -> Self:
        """Return what this model is to tokens that embeddings stand before (prompt tuning).

        An encoder-decoder has them before the encoder's input, whose positions are not the decoder's.

        Raises:
          ConfigError: if no position is left.
        """
        del num_virtual_tokens
        return self

    def check_length(self, length: int) -> None:
        """Check that a sequence of ``length`` tokens has a position for each.

        Raises:
          ConfigError: if a learned table is shorter.
        """
        for stack in self.stacks:
            stack.check_length(length)
