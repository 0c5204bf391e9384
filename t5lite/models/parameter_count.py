"""The number of parameters of a model, by arithmetic: no module is built and JAX is not imported.

A test holds it equal to ``FunctionalModel.num_params`` for every preset and option.
"""

from t5lite.models.config import ModelConfig, TransformerConfig


def count_parameters(config: ModelConfig) -> int:
    """Return the number of parameters; a tied embedding counts once."""
    total = config.vocab_size * config.width_of_table
    if config.table_dim is not None:
        total += 2 * config.table_dim * config.embed_dim
    total += sum(
        _stack(config, stack.num_layers, cross_attention=stack.memory is not None) for stack in config.stacks
    )
    return total + config.head_parameters


def _stack(config: TransformerConfig, num_layers: int, *, cross_attention: bool = False) -> int:
    layer = config.norm_parameters + _attention(config) + _mlp(config)
    if not config.parallel_block:
        layer += config.norm_parameters
    if cross_attention:
        layer += config.norm_parameters + _attention(config)
    relative_bias = config.relpos_buckets * config.num_heads
    if config.positions == "relative_per_layer":
        layer += relative_bias
    total = num_layers * layer
    if config.positions == "relative":
        total += relative_bias
    if config.positions == "learned":
        total += (config.max_length + config.position_offset) * config.embed_dim
    return total + config.norm_parameters * (config.embedding_norm + (config.norm_placement == "pre"))


def _attention(config: TransformerConfig) -> int:
    inner, kv_inner = config.num_heads * config.head_dim, config.kv_heads * config.head_dim
    kernels = 2 * config.embed_dim * (inner + kv_inner)
    return kernels + (inner + 2 * kv_inner + config.embed_dim if config.biases else 0)


def _mlp(config: TransformerConfig) -> int:
    inputs = 2 if config.gated_mlp else 1
    kernels = (inputs + 1) * config.embed_dim * config.mlp_dim
    return kernels + (inputs * config.mlp_dim + config.embed_dim if config.biases else 0)
