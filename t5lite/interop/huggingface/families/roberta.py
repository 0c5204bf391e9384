"""RoBERTa: ``RobertaModel``, its masked language model, and the three heads it is fine-tuned with.

The encoder is BERT's, but that positions are counted from one more than the id of padding. A classifier of
texts has BERT's pooler among its own tensors, so the tensors alone tell the heads apart.
"""

from collections.abc import Collection, Mapping
from typing import Any, cast

from t5lite.core.errors import CheckpointError
from t5lite.interop.huggingface.families import bert
from t5lite.interop.huggingface.family import Family, Tokens, Values
from t5lite.interop.huggingface.tensor_rules import Rule, norm, vector
from t5lite.interop.trees import Shape
from t5lite.models.config import EncoderOnlyConfig, Head, LearnedPositions

_CLASSES: dict[Head, str] = {
    "hidden": "RobertaModel",
    "pooled": "RobertaModel",
    "masked_lm": "RobertaForMaskedLM",
    "sequence_classification": "RobertaForSequenceClassification",
    "sequence_regression": "RobertaForSequenceClassification",
    "token_classification": "RobertaForTokenClassification",
    "span_extraction": "RobertaForQuestionAnswering",
    "sentence_embedding": "RobertaModel",
}
_ARCHITECTURES = tuple(dict.fromkeys(_CLASSES.values()))
_SHAPE: dict[str, tuple[Any, ...]] = {
    **bert.SHAPE,
    "head": tuple(_CLASSES),
    "positions": (LearnedPositions,),
}
_TEXT_CLASSIFIER, _TOKEN_CLASSIFIER = "classifier.out_proj", "classifier"
_TABLE = "roberta.embeddings.word_embeddings.weight"
_PAD = 1


def _mismatches(config: EncoderOnlyConfig) -> list[str]:
    phrases = bert.mismatches(config, _SHAPE)
    if config.positions == LearnedPositions():
        phrases.append("positions.offset=0 (only 1 or more)")
    if config.predicts_tokens and config.mlp.activation != "gelu":
        phrases.append(f"mlp.activation={config.mlp.activation!r} before predicted tokens (only 'gelu')")
    return phrases


def _rules(config: EncoderOnlyConfig) -> tuple[Rule, ...]:
    encoder = bert.encoder_rules("roberta")
    if config.head_kind.labels == bert.CLASSIFIER and config.has_pooler:
        encoder = tuple(rule for rule in encoder if not rule.tensor.startswith("roberta.pooler."))
        return (
            *encoder,
            *bert.head_rules("classifier.dense", "pooler"),
            *bert.head_rules(_TEXT_CLASSIFIER, "classifier"),
        )
    return (
        *encoder,
        vector("lm_head.bias", "masked_lm/bias"),
        *bert.head_rules("lm_head.dense", "masked_lm"),
        *norm("lm_head.layer_norm", "masked_lm/norm"),
        *bert.head_rules(_TOKEN_CLASSIFIER, "classifier"),
        *bert.head_rules("qa_outputs", "span"),
    )


def _copies(config: EncoderOnlyConfig) -> dict[str, str]:
    if not config.predicts_tokens:
        return {}
    return {"lm_head.decoder.weight": _TABLE, "lm_head.decoder.bias": "lm_head.bias"}


def _to_json(config: EncoderOnlyConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    """Return config.json's content.

    Raises:
      CheckpointError: for a vocabulary whose padding is not the id that transformers counts positions from.
    """
    pad = cast(LearnedPositions, config.positions).offset - 1  # by _SHAPE
    if tokens["pad"] not in (None, pad):
        raise CheckpointError(
            f"the vocabulary pads with id {tokens['pad']}, but the model's positions begin at row {pad + 1} "
            f"of their table, where RoBERTa's begin if padding is id {pad}; train it with "
            f"positions=LearnedPositions(offset={cast(int, tokens['pad']) + 1}), or with a vocabulary whose "
            f"pad is {pad}"
        )
    return {
        **bert.to_json(config, dtype, tokens),
        "model_type": "roberta",
        "bos_token_id": tokens["bos"],
        "eos_token_id": tokens["eos"],
        "pad_token_id": pad,
    }


def _from_json(values: Values) -> EncoderOnlyConfig:
    values.architectures(_ARCHITECTURES)
    return bert.encoder(values, LearnedPositions(offset=values.integer("pad_token_id", _PAD, minimum=0) + 1))


def _completed(config: EncoderOnlyConfig, values: Values, shapes: Mapping[str, Shape]) -> EncoderOnlyConfig:
    head = _head_of(values.architectures(_ARCHITECTURES), shapes)
    if head == "masked_lm":
        values.require({"hidden_act": ("gelu",)})
    labels = _TEXT_CLASSIFIER if head == "sequence_classification" else _TOKEN_CLASSIFIER
    return bert.with_head(config, head, values, shapes, labels=labels)


def _head_of(architectures: tuple[str, ...], names: Collection[str]) -> Head:
    """Return the head among the tensors: of several, the one that ``architectures`` names."""
    marks: dict[Head, str] = {
        "masked_lm": "lm_head.dense",
        "span_extraction": "qa_outputs",
        "sequence_classification": _TEXT_CLASSIFIER,
        "token_classification": _TOKEN_CLASSIFIER,
    }
    found: list[Head] = [head for head, tensor in marks.items() if f"{tensor}.weight" in names]
    body: Head = "pooled" if "roberta.pooler.dense.weight" in names else "hidden"
    return bert.chosen(found, _CLASSES, architectures, body)


FAMILY = Family(
    model_types=("roberta",),
    architecture=EncoderOnlyConfig,
    mismatches=_mismatches,
    class_name=lambda config: _CLASSES.get(config.head, "RobertaForMaskedLM"),
    to_json=_to_json,
    generation_json=bert.generation_json,
    from_json=_from_json,
    completed=_completed,
    rules=_rules,
    prefix="roberta.",
    heads=("lm_head.", "classifier.", "qa_outputs."),
    bare=lambda config: config.head_kind.is_bare,
    copies=_copies,
    ignorable=(r"roberta\.embeddings\.(position_ids|token_type_ids)",),
    optional_parts=(r"roberta\.pooler\.dense\.(weight|bias)", r"(lm_head|classifier|qa_outputs)\..*"),
)
