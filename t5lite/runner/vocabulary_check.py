"""Whether a vocabulary and a model belong together, found before parameters are made."""

from t5lite.core.errors import ConfigError
from t5lite.core.types import PAD_ID
from t5lite.data.vocabulary import Vocabulary
from t5lite.models.config import ModelConfig

_VOCABULARY_MULTIPLE = 128
_NAMED_TOKENS = 3


def check_vocabulary(vocabulary: Vocabulary, model: ModelConfig, *, imported: bool = False) -> None:
    """Check that the model's table has a row for every id, and the vocabulary the tokens the model lives by.

    Whether it has what an objective needs besides (sentinels, CLS, SEP) is the objective's to check.

    Args:
      vocabulary: of the data, or of the weights.
      model: its table is asked.
      imported: whether the weights are there, so that no other size can be set.

    Raises:
      ConfigError: naming the size to set, or what is missing.
    """
    if vocabulary.size > model.vocab_size:
        rounded = -(-vocabulary.size // _VOCABULARY_MULTIPLE) * _VOCABULARY_MULTIPLE
        remedy = _remedy_for_rows(vocabulary, model) if imported else f"set model.vocab_size={rounded}"
        raise ConfigError(
            f"{'' if imported else 'model.'}vocab_size={model.vocab_size} has no row for some of the "
            f"{vocabulary.size} ids of {vocabulary.path}; {remedy}"
        )
    has_mask = vocabulary.mask_id is not None or vocabulary.extra_ids > 0
    if model.fills_masks and not has_mask:
        raise ConfigError(
            f"{vocabulary.path} has neither a mask token nor a sentinel to stand for it, and a masked "
            "language model needs one; use a vocabulary that has one"
        )
    if model.cross_attends:
        vocabulary.special_id("eos", needed_for="an encoder-decoder model, to end its inputs and targets,")
        _check_start(vocabulary, model.decoder_start_id, imported=imported)


def _check_start(vocabulary: Vocabulary, start_id: int, *, imported: bool) -> None:
    ids = {"pad_id": vocabulary.pad_id}
    if start_id != PAD_ID:  # else it is what fills the rows as well
        ids["bos_id"] = vocabulary.bos_id
    if start_id in ids.values():
        return
    own = {name: value for name, value in ids.items() if value is not None}
    if start_id == PAD_ID:
        remedy = "use a vocabulary whose pad token has that id, such as SentencePiece or bytes"
    elif imported:
        remedy = "give the vocabulary that the weights were trained with by --vocabulary"
    elif own:
        remedy = f"set model.start_id={[*own.values()][-1]}"
    else:
        remedy = "use a vocabulary with a pad or BOS token of that id"
    raise ConfigError(
        f"{vocabulary.path} has {' and '.join(f'{name}={value}' for name, value in ids.items())}, but an "
        f"encoder-decoder model starts its targets with id {start_id}, which must stand for nothing else; "
        f"{remedy}"
    )


def _remedy_for_rows(vocabulary: Vocabulary, model: ModelConfig) -> str:
    """Return what to do about a tokenizer that has more ids than the table of the weights has rows."""
    rows = model.vocab_size
    num_sentinels = vocabulary.extra_ids - (vocabulary.size - rows)
    if vocabulary.takes_extra_ids and num_sentinels >= 0 and not model.cross_attends:
        return "sentinels are T5's: give --extra-ids 0 for a model that was trained without"
    if vocabulary.takes_extra_ids and num_sentinels >= 0:
        return f"the weights have {num_sentinels} sentinels at most: give --extra-ids {num_sentinels}"
    beyond = [text for text in map(vocabulary.token_text, range(rows, vocabulary.size)) if text]
    named = (
        f" for {', '.join(map(repr, beyond[:_NAMED_TOKENS]))}{', …' if len(beyond) > _NAMED_TOKENS else ''}"
    )
    return (
        f"give it rows{named if beyond else ''} by model.resize_token_embeddings({vocabulary.size}) and "
        "save_pretrained of transformers, or give the vocabulary that the weights were trained with by "
        "--vocabulary"
    )
