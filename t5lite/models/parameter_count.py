"""The number of parameters of a model, by arithmetic: no module is built and JAX is not imported.

A test holds it equal to ``FunctionalModel.num_params`` for every preset and option.
"""

from t5lite.models.config import EncoderDecoderConfig, EncoderOnlyConfig, ModelConfig, TransformerConfig


def count_parameters(config: ModelConfig) -> int:
    """Return the number of parameters; a tied embedding counts once."""
    table = config.vocab_size * config.width_of_table
    total = table
    if config.table_dim is not None:
        total += 2 * config.table_dim * config.embed_dim
    if isinstance(config, EncoderOnlyConfig):
        return total + _stack(config, config.num_layers) + _encoder_only_head(config)
    if not config.tie_embeddings:
        total += table
    if isinstance(config, EncoderDecoderConfig):
        encoder = _stack(config, config.num_encoder_layers)
        return total + encoder + _stack(config, config.num_decoder_layers, cross_attention=True)
    return total + _stack(config, config.num_layers)


def _stack(config: TransformerConfig, num_layers: int, *, cross_attention: bool = False) -> int:
    layer = _norm(config) + _attention(config) + _mlp(config)
    if not config.parallel_block:
        layer += _norm(config)
    if cross_attention:
        layer += _norm(config) + _attention(config)
    relative_bias = config.relpos_buckets * config.num_heads
    if config.positions == "relative_per_layer":
        layer += relative_bias
    total = num_layers * layer
    if config.positions == "relative":
        total += relative_bias
    if config.positions == "learned":
        total += (config.max_length + config.position_offset) * config.embed_dim
    return total + _norm(config) * (config.embedding_norm + (config.norm_placement == "pre"))


def _norm(config: TransformerConfig) -> int:
    return config.embed_dim * (2 if config.norm == "layer" and config.biases else 1)


def _attention(config: TransformerConfig) -> int:
    inner, kv_inner = config.num_heads * config.head_dim, config.kv_heads * config.head_dim
    kernels = 2 * config.embed_dim * (inner + kv_inner)
    return kernels + (inner + 2 * kv_inner + config.embed_dim if config.biases else 0)


def _mlp(config: TransformerConfig) -> int:
    inputs = 2 if config.gated_mlp else 1
    kernels = (inputs + 1) * config.embed_dim * config.mlp_dim
    return kernels + (inputs * config.mlp_dim + config.embed_dim if config.biases else 0)


def _encoder_only_head(config: EncoderOnlyConfig) -> int:
    def dense(num_features: int) -> int:
        return (config.embed_dim + 1) * num_features

    total = config.num_token_types * config.embed_dim
    if config.has_pooler:
        total += dense(config.embed_dim)
    if config.head in ("masked_lm", "pretraining"):
        total += dense(config.embed_dim) + _norm(config) + config.vocab_size
    if config.head in ("sequence_classification", "token_classification"):
        total += dense(config.num_labels)
    if config.head in ("pretraining", "span_extraction"):
        total += dense(2)
    return total
