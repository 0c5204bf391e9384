"""Qwen 2 and 2.5: ``Qwen2ForCausalLM``, Llama with biases on queries, keys and values."""

from t5lite.interop.huggingface.llama_like import LlamaLike
from t5lite.models.config import AttentionConfig, DecoderOnlyConfig


def _width_of_heads(config: DecoderOnlyConfig) -> list[str]:
    if config.head_dim * config.num_heads == config.embed_dim:
        return []
    return [f"num_heads={config.num_heads} x head_dim={config.head_dim} unlike embed_dim={config.embed_dim}"]


FAMILY = LlamaLike(
    model_type="qwen2",
    name="Qwen2",
    defaults={
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
    },
    shape={"attention.biases": ("qkv",)},
    # No released model has windows, and its classes give them to the last layers alone.
    supported={"use_sliding_window": (False,)},
    attention=lambda _: AttentionConfig(scaled=True, biases="qkv"),
    attention_json=lambda _: {"use_sliding_window": False},
    refusals=_width_of_heads,
).family()
