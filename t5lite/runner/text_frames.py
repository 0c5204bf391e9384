"""What stands around a text that a model reads whole, and how long texts were that it learned to embed."""

from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from t5lite.models.config import ModelConfig
from t5lite.runner.snapshot import Snapshot


def text_frame(config: ModelConfig, vocabulary: Vocabulary, *, is_imported: bool) -> Frame:
    """Return it: [CLS] and [SEP] of an encoder alone, EOS behind of one with a decoder.

    What a tokenizer's own rules say goes before; a decoder alone has nothing else. What stands for [CLS] in a
    vocabulary without it is known to models that were trained here: an imported encoder, such as a T5's, has
    EOS behind.

    Raises:
      ConfigError: if the vocabulary has nothing to frame a text with.
    """
    if not (config.writes or (is_imported and vocabulary.cls_id is None)):
        _, cls, sep = special_tokens(vocabulary)
        return Frame((cls,), (sep,))
    if config.writes and not config.cross_attends:
        return vocabulary.own_frame or Frame()
    eos = vocabulary.special_id("eos", needed_for="the end of what an encoder reads")
    return vocabulary.own_frame or Frame(after=(eos,))


def trained_length(found: Snapshot) -> int | None:
    """Return how many tokens texts were cut to where a run was trained to embed; None of any other."""
    if not (found.has_config and found.model.config.embeds):
        return None
    return max(source.inputs_length for source in found.config.data.named_sources.values())
