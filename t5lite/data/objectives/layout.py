"""How an objective cuts the virtual concatenation of a token store into chunks, and what they become."""

from typing import NamedTuple


class ChunkLayout(NamedTuple):
    """Sizes that follow from an objective and the inputs' length."""

    tokens: int
    """Tokens of a chunk."""
    stride: int
    """Tokens from the start of a chunk to the start of the next; less than ``tokens`` where they overlap."""
    encoder_length: int
    """M of the batch fields, 0 where there are none of the encoder's."""
    decoder_length: int
    """L of the batch fields, 0 where there are none of the decoder's."""
