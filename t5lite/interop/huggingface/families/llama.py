"""Llama: ``LlamaForCausalLM``, with grouped-query attention or without, its head tied or not.

Llama 3.1 and later stretch the context by their own scaling of the rotary frequencies; plain and linearly
scaled ones are read, too.
"""

from t5lite.interop.huggingface.llama_like import LlamaLike
from t5lite.models.config import DecoderOnlyConfig


def _whole_heads(config: DecoderOnlyConfig) -> list[str]:
    if config.embed_dim % config.num_heads == 0:
        return []
    return [f"embed_dim={config.embed_dim}, no multiple of num_heads={config.num_heads}"]


FAMILY = LlamaLike(
    model_type="llama",
    name="Llama",
    defaults={},
    shape={},
    supported={"attention_bias": (False,), "mlp_bias": (False,)},
    attention_json=lambda _: {"attention_bias": False, "mlp_bias": False},
    refusals=_whole_heads,
).family()
