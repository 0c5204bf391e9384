"""How long inputs and outputs may be: as in training; of an imported model, as many as it has positions."""

from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.data.pipeline import PairsDataConfig
from t5lite.models.config import ModelConfig
from t5lite.run_config import RunConfig

_OUTPUT_LENGTH = 128
"""Of a continuation, and of what an imported model answers."""


@dataclass(frozen=True)
class GenerationLengths:
    """Tokens of an input and of an output, special ones included."""

    encoder_length: int
    max_decode_length: int
    input_limit: int | None
    """Most tokens of an input beside an output of this length; None where there is no table of positions."""
    output_limit: int | None
    """Most tokens of an output, beside an input of the length that was given."""


def generation_lengths(
    model: ModelConfig,
    trained: RunConfig | None,
    *,
    encoder_length: int | None = None,
    max_decode_length: int | None = None,
) -> GenerationLengths:
    """Return the lengths to generate with.

    What is not given is as the run was trained: inputs and targets of that length; of a decoder-only model of
    text, a prompt and a continuation that share the length of its rows.

    Args:
      model: of the run.
      trained: its configuration; None of an imported model.
      encoder_length: what the user wants of inputs.
      max_decode_length: what the user wants of outputs.

    Raises:
      ConfigError: if a given length is not positive.
    """
    for name, length in (("encoder_length", encoder_length), ("max_decode_length", max_decode_length)):
        if length is not None and length < 1:
            raise ConfigError(f"{name}={length} must be 1 or more")
    table = model.position_limit
    if model.architecture == "decoder_only":
        inputs, outputs = _one_row(model, trained, table, encoder_length, max_decode_length)
        if table is None:
            return GenerationLengths(inputs, outputs, None, None)
        return GenerationLengths(inputs, outputs, table - outputs + 1, table - (encoder_length or 1) + 1)
    inputs, outputs = model.max_length, min(_OUTPUT_LENGTH, model.max_length)
    if trained is not None:
        inputs, outputs = trained.data.lengths(model.architecture)
    return GenerationLengths(encoder_length or inputs, max_decode_length or outputs or 1, table, table)


def _one_row(
    model: ModelConfig,
    trained: RunConfig | None,
    table: int | None,
    encoder_length: int | None,
    max_decode_length: int | None,
) -> tuple[int, int]:
    """Return how prompt and continuation divide one row between them."""
    data = None if trained is None else trained.evaluated_data
    row = model.max_length if data is None else data.lengths(model.architecture)[1]
    outputs = min(_OUTPUT_LENGTH, max(1, row // 2))
    if isinstance(data, PairsDataConfig):
        outputs = data.targets_length
    if encoder_length is not None:
        room = outputs if table is None else table - encoder_length + 1
        return encoder_length, max_decode_length or max(1, min(outputs, room))
    if max_decode_length is None:
        return row - outputs + 1, outputs
    # A longer continuation than rows are may leave the prompt half a row, where positions do not end.
    inputs = max(row - max_decode_length + 1, (row + 1) // 2)
    return (
        inputs if table is None else max(1, min(inputs, table - max_decode_length + 1))
    ), max_decode_length
