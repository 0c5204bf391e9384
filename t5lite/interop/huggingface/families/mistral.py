"""Mistral: ``MistralForCausalLM``, Llama with a window in every layer.

Without a window it is a Llama, and is exported as one: versions after 0.1 have none.
"""

from t5lite.interop.huggingface.family import Values
from t5lite.interop.huggingface.llama_like import LlamaLike
from t5lite.models.config import AttentionConfig, DecoderOnlyConfig


def _attention(values: Values) -> AttentionConfig:
    # A key that says null has no window; one that is missing has transformers' default.
    window = values.integer("sliding_window", 4096) if values.says("sliding_window") else None
    return AttentionConfig(scaled=True, windows=(window,))


def _one_window(config: DecoderOnlyConfig) -> list[str]:
    windows = config.attention.windows
    if len(windows) == 1:
        return []
    return [f"attention.windows={windows} (only one, of all layers)"]


FAMILY = LlamaLike(
    model_type="mistral",
    name="Mistral",
    defaults={"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072},
    shape={"attention.windows": (tuple,)},
    supported={},
    attention=_attention,
    attention_json=lambda config: {"sliding_window": config.attention.windows[0]},
    refusals=_one_window,
).family()
