"""Parameters and training FLOPs of a model by the conventions of published studies, named after them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from t5lite.adapters import NoAdapter
from t5lite.core.errors import ConfigError
from t5lite.core.registry import lookup
from t5lite.models.config import ModelConfig
from t5lite.models.flops import layer_flops, stack_lengths, train_step_flops
from t5lite.models.parameter_count import count_embeddings, count_parameters
from t5lite.run_config import RunConfig
from t5lite.runner.compilation import batch_shape
from t5lite.training.step_flops import step_flops

EXACT = "exact"
"""This project's own convention."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model and the lengths of its rows; that of a side that it has not does not count."""

    model: ModelConfig
    encoder_length: int = 0
    decoder_length: int = 0
    texts: int = 1
    """Of a row, each of these lengths, which are read apart."""

    @property
    def lengths(self) -> Mapping[str, int]:
        """The two lengths, as functions take them."""
        return {"encoder_length": self.encoder_length, "decoder_length": self.decoder_length}

    @property
    def tokens(self) -> int:
        """Positions of a row, of both sides: each enters the model once."""
        return self.texts * sum(each.length for each in stack_lengths(self.model, **self.lengths))


@dataclass(frozen=True, kw_only=True)
class Convention:
    """A way to count.

    Attributes:
      about: what it is, and whose.
      params: N of a shape.
      row_flops: FLOPs of training on one row.
    """

    about: str
    params: Callable[[Shape], int]
    row_flops: Callable[[Shape], float]

    def flops_per_token(self, shape: Shape) -> float:
        """Return the training FLOPs for each token that enters the model."""
        return self.row_flops(shape) / shape.tokens


def _all(shape: Shape) -> int:
    return count_parameters(shape.model)


def _non_embedding(shape: Shape) -> int:
    return count_parameters(shape.model) - count_embeddings(shape.model)


def _exact(shape: Shape) -> float:
    return train_step_flops(shape.model, batch_size=shape.texts, **shape.lengths)


def _layers(shape: Shape) -> float:
    """Three forward passes of the layers, with three operations a weight of attention for the softmax."""
    softmax = 0
    for stack, length, memory_length in stack_lengths(shape.model, **shape.lengths):
        for layer, number in stack.counts.items():
            seen = layer.attention.num_visible(length) + layer.attention.num_merged(memory_length)
            softmax += number * 3 * layer.attention.num_heads * length * seen
            if layer.cross_attention is not None and memory_length is not None:
                softmax += number * 3 * layer.cross_attention.num_heads * length * memory_length
    layers = sum(layer_flops(shape.model, batch_size=shape.texts, **shape.lengths))
    return 3 * (layers + shape.texts * softmax)


def _with_vocabulary(shape: Shape) -> float:
    """The layers, the head, and a product of one-hot tokens with the embedding table."""
    model, total = shape.model, _layers(shape)
    lengths = [each.length for each in stack_lengths(model, **shape.lengths)]
    lookups = sum(2 * length * model.vocab_size * model.width_of_table for length in lengths)
    narrow = sum(map(model.table_flops, lengths))
    return total + 3 * shape.texts * (lookups + narrow + model.head_flops(lengths[-1]))


def _six(params: Callable[[Shape], int]) -> Callable[[Shape], float]:
    """Six for each parameter and token; of several stacks of about one size, a token meets one."""
    return lambda shape: 6.0 * params(shape) * shape.tokens / len(shape.model.stacks)


CONVENTIONS: Mapping[str, Convention] = {
    EXACT: Convention(
        about="every matrix product of a step, by side, window and cross-attention; what MFU is of",
        params=_all,
        row_flops=_exact,
    ),
    "6nd": Convention(
        about="6 N D, embeddings in N; 3 N D of an encoder-decoder (Brown et al., 2020, table D.1)",
        params=_all,
        row_flops=_six(_all),
    ),
    "kaplan": Convention(
        about="the same, N without embeddings and logits (Kaplan et al., 2020)",
        params=_non_embedding,
        row_flops=_six(_non_embedding),
    ),
    "chinchilla": Convention(
        about="appendix F of Hoffmann et al. (2022): also lookups as products, softmax, logits",
        params=_all,
        row_flops=_with_vocabulary,
    ),
    "chinchilla-a4": Convention(
        about="its table A4, which comes out without lookups and logits",
        params=_all,
        row_flops=_layers,
    ),
}
"""Every convention by its name."""


def convention(name: str) -> Convention:
    """Return a convention.

    Raises:
      ConfigError: for an unknown name.
    """
    return lookup(CONVENTIONS, name, kind="convention")


def shape_of(config: RunConfig) -> Shape:
    """Return what of a run is counted."""
    batch = batch_shape(config)
    lengths = {name: length for name, length in batch.read(1).items() if name != "batch_size"}
    return Shape(model=config.model, texts=batch.texts_apart, **lengths)


@dataclass(frozen=True, kw_only=True)
class RunCount:
    """What a whole run comes to by one convention."""

    params: int
    tokens: int
    """That enter the model, of both sides, padding included."""
    flops: float


def count_run(config: RunConfig, name: str = EXACT) -> RunCount:
    """Return the count of ``training.total_steps`` steps.

    ``exact`` leaves out the gradients of what is frozen; the others count as if all were trained.

    Raises:
      ConfigError: for an unknown convention, or a run whose steps follow from its data.
    """
    if config.training.epochs is not None:
        raise ConfigError(
            f"training.epochs={config.training.epochs:g}: how many steps these are is known when the data is "
            "opened, so that nothing can be counted before; set it to None and give training.total_steps"
        )
    counted, shape = convention(name), shape_of(config)
    rows = config.training.total_steps * config.training.batch_size
    flops = counted.row_flops(shape)
    if name == EXACT and not trains_everything(config):
        model = config.functional_model()
        flops = step_flops(model, config.build_optimizer(model), batch_size=shape.texts, **shape.lengths)
    return RunCount(params=counted.params(shape), tokens=rows * shape.tokens, flops=rows * flops)


def trains_everything(config: RunConfig) -> bool:
    """Whether nothing of the model is frozen, and nothing trained beside it."""
    return config.trainable is None and config.adapter == NoAdapter()
