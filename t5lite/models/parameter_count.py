"""The number of parameters of a model, by arithmetic: no module is built and JAX is not imported.

A test holds it equal to ``FunctionalModel.num_params`` for every preset and option.
"""

from t5lite.models.config import ModelConfig


def count_parameters(config: ModelConfig) -> int:
    """Return the number of parameters; a tied embedding counts once."""
    total = config.vocab_size * config.width_of_table
    if config.table_dim is not None:
        total += 2 * config.table_dim * config.embed_dim
    return total + sum(stack.num_parameters for stack in config.stacks) + config.head_parameters


def count_embeddings(config: ModelConfig) -> int:
    """Return how many of them are in tables: of tokens, positions and token types, and the logits' own.

    What Kaplan et al. (2020) leave out of N. Kernels beside a narrow table are none.
    """
    positions = sum(stack.num_positions * stack.embed_dim for stack in config.stacks)
    return config.vocab_size * config.width_of_table + config.head_tables + positions
