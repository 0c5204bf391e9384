"""What sentence-transformers reads beside transformers' files: how hidden states become a vector."""

from collections.abc import Mapping
from typing import Any

from t5lite.models.config import ModelConfig, Pooling

_MODULES = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
_MODES: Mapping[Pooling, str] = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
}


def sentence_files(config: ModelConfig, *, text_length: int | None) -> dict[str, Any]:
    """Return the content of each file by its name; none of a model that was not trained to embed.

    Args:
      config: of the model.
      text_length: tokens that texts were cut to in the training; None: as many as the model takes.
    """
    if not config.embeds:
        return {}
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(_MODULES.items())
    ]
    modes = {mode: pooling == config.pooling for pooling, mode in _MODES.items()}
    return {
        "modules.json": modules,
        "sentence_bert_config.json": {
            "max_seq_length": text_length or config.max_length,
            "do_lower_case": False,
        },
        "1_Pooling/config.json": {"word_embedding_dimension": config.embed_dim, **modes},
    }
