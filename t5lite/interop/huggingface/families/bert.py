"""BERT: ``BertModel``, its pretraining heads, and the three heads it is fine-tuned with.

The head is read off the tensors, not off ``architectures``: the published checkpoints say
``BertForMaskedLM`` and hold the next-sentence head as well. Only a ``classifier`` is the same in
``BertForSequenceClassification`` and ``BertForTokenClassification``, but for the pooler of the former.
"""

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from t5lite.core.errors import UserError
from t5lite.interop.differences import differences
from t5lite.interop.huggingface.family import (
    ONLY_PLAIN,
    Family,
    Tokens,
    Values,
    head_width,
    initial_std,
    same_heads,
    unit_logit_scale,
)
from t5lite.interop.huggingface.tensor_rules import Rule, dense, norm, table, vector
from t5lite.interop.trees import Shape
from t5lite.models.config import (
    HEADS,
    Activation,
    EncoderOnlyConfig,
    Head,
    LayerNorm,
    LearnedPositions,
    NormalInitializer,
    PlainMLP,
)

logger = logging.getLogger(__name__)

_CLASSES: dict[Head, str] = {
    "hidden": "BertModel",
    "pooled": "BertModel",
    "pretraining": "BertForPreTraining",
    "masked_lm": "BertForMaskedLM",
    "sequence_classification": "BertForSequenceClassification",
    "sequence_regression": "BertForSequenceClassification",
    "token_classification": "BertForTokenClassification",
    "span_extraction": "BertForQuestionAnswering",
    "sentence_embedding": "BertModel",
}
_ARCHITECTURES = tuple(dict.fromkeys(_CLASSES.values()))
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
SHAPE: dict[str, tuple[Any, ...]] = {
    **ONLY_PLAIN,
    "positions": (LearnedPositions(),),
    "norm": (LayerNorm,),
    "norm.bias": (True,),
    "norm_placement": ("post",),
    "embedding_norm": (True,),
    "mlp": (PlainMLP,),
    "mlp.activation": tuple(dict.fromkeys(ACTIVATIONS.values())),
    "mlp.bias": (True,),
    "parallel_block": (False,),
    "attention.biases": ("all",),
    "attention.scaled": (True,),
    "table_dim": (None,),
    "head_bias": (True,),
    "label_transform": (False,),
}
SUPPORTED: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
}
CLASSIFIER = "classifier"
_SINGLE_LABEL, _REGRESSION = "single_label_classification", "regression"
_TABLE = "bert.embeddings.word_embeddings.weight"


def mismatches(config: EncoderOnlyConfig, shape: Mapping[str, tuple[Any, ...]] = SHAPE) -> list[str]:
    """Return why a model is none of ``shape`` with token types and one head of attention for each query."""
    phrases = differences(config, shape) + same_heads(config) + head_width(config)
    if config.predicts_tokens:
        phrases += unit_logit_scale(config)
    if config.num_token_types < 1:
        phrases.append(f"num_token_types={config.num_token_types} (only 1 or more)")
    return phrases


def _rules(config: EncoderOnlyConfig) -> tuple[Rule, ...]:
    del config  # rules of heads that a model lacks do not apply
    return (
        *encoder_rules("bert"),
        vector("cls.predictions.bias", "masked_lm/bias"),
        *head_rules("cls.predictions.transform.dense", "masked_lm"),
        *norm("cls.predictions.transform.LayerNorm", "masked_lm/norm"),
        *head_rules("cls.seq_relationship", "next_sentence"),
        *head_rules(CLASSIFIER, "classifier"),
        *head_rules("qa_outputs", "span"),
    )


def encoder_rules(name: str) -> tuple[Rule, ...]:
    """Return the rules of embeddings, layers and pooler, whose tensors' names begin with ``name``."""
    layer, ours = f"{name}.encoder.layer.{{}}", "encoder/layers"
    attention: list[Rule] = []
    for theirs in ("query", "key", "value"):
        leaf = f"{ours}/self_attention/{theirs}"
        attention += dense(f"{layer}.attention.self.{theirs}", leaf, bias=f"{leaf}_bias")
    out = f"{ours}/self_attention/out"
    return (
        table(f"{name}.embeddings.word_embeddings.weight", "token_embedder/embedding"),
        table(f"{name}.embeddings.position_embeddings.weight", "encoder/positions/embedding"),
        table(f"{name}.embeddings.token_type_embeddings.weight", "token_types"),
        *norm(f"{name}.embeddings.LayerNorm", "encoder/embedding_norm"),
        *attention,
        *dense(f"{layer}.attention.output.dense", out, bias=f"{out}_bias"),
        *norm(f"{layer}.attention.output.LayerNorm", f"{ours}/self_attention_norm"),
        *dense(f"{layer}.intermediate.dense", f"{ours}/mlp/wi", bias=f"{ours}/mlp/wi_bias"),
        *dense(f"{layer}.output.dense", f"{ours}/mlp/wo", bias=f"{ours}/mlp/wo_bias"),
        *norm(f"{layer}.output.LayerNorm", f"{ours}/mlp_norm"),
        *head_rules(f"{name}.pooler.dense", "pooler"),
    )


def head_rules(tensor: str, leaf: str) -> tuple[Rule, Rule]:
    """Return the rules of a head's dense layer."""
    return dense(tensor, f"{leaf}/dense/kernel", bias=f"{leaf}/dense/bias")


def _copies(config: EncoderOnlyConfig) -> dict[str, str]:
    if not config.predicts_tokens:
        return {}
    return {"cls.predictions.decoder.weight": _TABLE, "cls.predictions.decoder.bias": "cls.predictions.bias"}


def to_json(config: EncoderOnlyConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    """Return config.json's content."""
    activation = next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.mlp.activation)
    values: dict[str, Any] = {
        "model_type": "bert",
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_dim,
        "hidden_act": activation,
        "hidden_dropout_prob": config.dropout_rate,
        "attention_probs_dropout_prob": config.dropout_rate,
        "max_position_embeddings": config.positions.num_rows(config.max_length),
        "type_vocab_size": config.num_token_types,
        "initializer_range": initial_std(config),
        "layer_norm_eps": config.norm.epsilon,
        "position_embedding_type": "absolute",
        "pad_token_id": tokens["pad"],
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
    }
    if config.head == "sequence_regression":
        values["problem_type"] = _REGRESSION
    return values | numbered_labels(config)


def numbered_labels(config: EncoderOnlyConfig) -> dict[str, Any]:
    """Return what config.json says of the labels of a classifier that have no other names."""
    if config.head_kind.labels != CLASSIFIER:
        return {}
    labels = [f"LABEL_{i}" for i in range(config.labels_of_head)]
    return {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def _from_json(values: Values) -> EncoderOnlyConfig:
    values.architectures(_ARCHITECTURES)
    return encoder(values, LearnedPositions())


def encoder(values: Values, positions: LearnedPositions) -> EncoderOnlyConfig:
    """Return the encoder that config.json describes."""
    values.require(SUPPORTED)
    embed_dim, num_heads = values.integer("hidden_size"), values.integer("num_attention_heads")
    num_rows = values.integer("max_position_embeddings", 512, minimum=positions.offset + 1)
    return EncoderOnlyConfig(
        vocab_size=values.integer("vocab_size"),
        embed_dim=embed_dim,
        mlp_dim=values.integer("intermediate_size"),
        head_dim=values.head_dim("hidden_size", embed_dim, "num_attention_heads", num_heads),
        num_heads=num_heads,
        num_layers=values.integer("num_hidden_layers"),
        head="hidden",  # until the tensors are known
        num_token_types=values.integer("type_vocab_size", 2),
        max_length=num_rows - positions.offset,
        positions=positions,
        mlp=PlainMLP(activation=values.choice("hidden_act", ACTIVATIONS, "gelu"), bias=True),
        norm=LayerNorm(epsilon=values.number("layer_norm_eps", 1e-12)),
        initializer=NormalInitializer(std=values.number("initializer_range", 0.02)),
        dropout_rate=values.number("hidden_dropout_prob", 0.1),
    )


def _completed(config: EncoderOnlyConfig, values: Values, shapes: Mapping[str, Shape]) -> EncoderOnlyConfig:
    head = _head_of(values.architectures(_ARCHITECTURES), shapes)
    return with_head(config, head, values, shapes, labels=CLASSIFIER)


def with_head(
    config: EncoderOnlyConfig, head: Head, values: Values, shapes: Mapping[str, Shape], *, labels: str
) -> EncoderOnlyConfig:
    """Return ``config`` with a head, which has as many classes as the dense layer ``labels`` has rows."""
    if HEADS[head].predicts_tokens:
        values.require({"tie_word_embeddings": (True,)})
    if not HEADS[head].is_classifier:
        return dataclasses.replace(config, head=head)
    rows = shapes.get(f"{labels}.weight")  # that it is there is checked with all others
    num_labels = rows[0] if rows else 1
    if head == "sequence_classification":
        if num_labels == 1 and values.get("problem_type", _REGRESSION) == _REGRESSION:  # as transformers
            return dataclasses.replace(config, head="sequence_regression")
        _refuse_other_than_softmax(values, num_labels)
    named = values.get("id2label")
    said = {
        "id2label": len(named) if isinstance(named, dict | list) else None,
        "num_labels": values.get("num_labels"),
    }
    if wrong := {key: count for key, count in said.items() if count not in (None, num_labels)}:
        logger.warning(
            "%s.weight has %d rows, and so many classes are imported; config.json speaks of %s",
            labels,
            num_labels,
            " and ".join(f"{count} ({key})" for key, count in wrong.items()),
        )
    return dataclasses.replace(config, head=head, num_labels=num_labels)


def _refuse_other_than_softmax(values: Values, num_labels: int) -> None:
    """Check that the classifier of a text chooses one class of several, as the one here does.

    Raises:
      UserError: for a classifier whose outputs are several numbers, or yes and no, each for itself.
    """
    problem = values.get("problem_type", _SINGLE_LABEL)
    if problem == _SINGLE_LABEL and num_labels > 1:
        return
    said = f"problem_type={problem!r}" if problem != _SINGLE_LABEL else f"num_labels={num_labels}"
    raise UserError(
        f"config.json: {said} is not supported: a classifier here gives each text one class of two or more, "
        f"with a softmax over all outputs ({_SINGLE_LABEL}), or one number ({_REGRESSION}), and would give "
        "other numbers; to import the "
        "encoder alone, save it by transformers' AutoModel.from_pretrained(FOLDER).save_pretrained(OUTPUT), "
        "the tokenizer likewise"
    )


def _head_of(architectures: tuple[str, ...], names: Collection[str]) -> Head:
    """Return the head among the tensors: of several, the one that ``architectures`` names."""
    pooler = "bert.pooler.dense.weight" in names
    classifier: Head = "sequence_classification"
    if "BertForTokenClassification" in architectures or not pooler:
        classifier = "token_classification"
    found: list[Head] = []
    if "cls.predictions.transform.dense.weight" in names:
        whole = pooler and "cls.seq_relationship.weight" in names
        found.append("pretraining" if whole else "masked_lm")
    if "qa_outputs.weight" in names:
        found.append("span_extraction")
    if f"{CLASSIFIER}.weight" in names:
        found.append(classifier)
    return chosen(found, _CLASSES, architectures, "pooled" if pooler else "hidden")


def chosen(
    found: Sequence[Head], classes: Mapping[Head, str], architectures: tuple[str, ...], body: Head
) -> Head:
    """Return the head among those ``found``: of several, the one that ``architectures`` names.

    Args:
      found: the heads whose tensors are there.
      classes: of each head.
      architectures: that config.json names.
      body: the head where none was found.

    Raises:
      UserError: if none was found and config.json names none but such that have one.
    """
    for head in found:
        if classes[head] in architectures:
            return head
    if found:
        return found[0]
    bodies = {name for head, name in classes.items() if not HEADS[head].is_fine_tuned}
    if architectures and not bodies & set(architectures):
        raise UserError(
            f"config.json: architectures={list(architectures)!r}, but there is neither a classifier nor "
            f"qa_outputs among the tensors; set it to ['{classes['hidden']}'] to import the encoder alone"
        )
    return body


def generation_json(config: EncoderOnlyConfig, tokens: Tokens) -> dict[str, Any]:
    """Return almost nothing: an encoder does not generate, but the file marks an exported folder."""
    del config
    return {"pad_token_id": tokens["pad"]}


FAMILY = Family(
    model_types=("bert",),
    marks=("type_vocab_size", "intermediate_size"),
    architecture=EncoderOnlyConfig,
    mismatches=mismatches,
    class_name=lambda config: _CLASSES[config.head],
    to_json=to_json,
    generation_json=generation_json,
    from_json=_from_json,
    completed=_completed,
    rules=_rules,
    prefix="bert.",
    heads=("cls.", "classifier.", "qa_outputs."),
    bare=lambda config: config.head_kind.is_bare,
    copies=_copies,
    # The names of TensorFlow, in the published checkpoints.
    renames=((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias")),
    ignorable=(r"bert\.embeddings\.(position_ids|token_type_ids)",),
    optional_parts=(r"bert\.pooler\.dense\.(weight|bias)", r"(cls|classifier|qa_outputs)\..*"),
)
