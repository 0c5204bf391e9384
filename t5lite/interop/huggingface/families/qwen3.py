"""Qwen 3: ``Qwen3ForCausalLM``, Llama with a norm over each head of queries and keys."""

from t5lite.interop.huggingface.llama_like import LlamaLike
from t5lite.models.config import AttentionConfig

FAMILY = LlamaLike(
    model_type="qwen3",
    name="Qwen3",
    defaults={
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32768,
    },
    shape={"attention.qk_norm": (True,)},
    supported={"attention_bias": (False,), "use_sliding_window": (False,)},
    attention=lambda _: AttentionConfig(scaled=True, qk_norm=True),
    attention_json=lambda _: {"attention_bias": False, "use_sliding_window": False},
).family()
