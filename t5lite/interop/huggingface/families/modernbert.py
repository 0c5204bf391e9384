"""ModernBERT, its masked language model, labels of tokens and spans, with local layers in any pattern."""

from collections.abc import Mapping
from typing import Any, cast

from t5lite.core.errors import CheckpointError, UserError
from t5lite.interop.differences import differences
from t5lite.interop.huggingface.families import bert
from t5lite.interop.huggingface.family import (
    Family,
    Tokens,
    Values,
    head_width,
    initial_std,
    same_heads,
    unit_logit_scale,
    unsupported,
)
from t5lite.interop.huggingface.tensor_rules import Rule, dense, linear, norm, table, vector
from t5lite.interop.trees import Shape
from t5lite.models.config import (
    HEADS,
    Activation,
    AttentionConfig,
    EncoderOnlyConfig,
    GatedMLP,
    Head,
    LayerNorm,
    NormalInitializer,
    RotaryPositions,
    Unscaled,
)

Windows = tuple[int | None, ...]

_CLASSES: dict[Head, str] = {
    "hidden": "ModernBertModel",
    "masked_lm": "ModernBertForMaskedLM",
    "sentence_embedding": "ModernBertModel",
    "token_classification": "ModernBertForTokenClassification",
    "span_extraction": "ModernBertForQuestionAnswering",
}
_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
}
_SHAPE: dict[str, tuple[Any, ...]] = {
    "head": tuple(_CLASSES),
    "num_token_types": (0,),
    "positions": (RotaryPositions,),
    "positions.scaling": (Unscaled(),),
    "norm": (LayerNorm,),
    "norm_placement": ("pre",),
    "first_norm": (False,),
    "embedding_norm": (True,),
    "mlp": (GatedMLP,),
    "parallel_block": (False,),
    "attention.biases": ("none", "all"),
    "attention.scaled": (True,),
    "attention.scale_dim": (None,),
    "attention.softcap": (None,),
    "attention.qk_norm": (False,),
    "attention.split_windows": (False,),
    "table_dim": (None,),
    "embedding_scale": (1.0,),
    "logit_softcap": (None,),
}
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "decoder_bias": (True,),
    "is_encoder_decoder": (False,),
    "position_embedding_type": ("absolute", "sans_pos"),
    "is_decoder": (False,),
    "causal_mask": (False,),
    "partial_rotary_factor": (1.0,),
}
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_TABLE = "model.embeddings.tok_embeddings.weight"
_EVERY = "global_attn_every_n_layers"
_LONGEST_PATTERN = 1000
"""A longer pattern of layers, of a damaged config.json, is not even made."""


def _mismatches(config: EncoderOnlyConfig) -> list[str]:
    phrases = differences(config, _SHAPE) + same_heads(config) + head_width(config)
    if config.predicts_tokens:
        phrases += unit_logit_scale(config)
    windows = config.attention.windows
    if config.head_kind.labels_tokens and not config.label_transform:
        phrases.append("label_transform=False (only True)")
    if len(_widths(windows)) > 1:
        phrases.append(f"attention.windows={windows!r} (only one width beside None)")
    return phrases


def _widths(windows: Windows) -> set[int]:
    return {window for window in windows if window is not None}


def _rules(config: EncoderOnlyConfig) -> tuple[Rule, ...]:
    # Rules of norms, biases and heads that a model lacks do not apply.
    head = "label_transform" if config.transforms_labels else "masked_lm"
    layer, ours = "model.layers.{}", "encoder/layers"
    attention, mlp = f"{ours}/self_attention", f"{ours}/mlp"
    projections = tuple(f"{attention}/{name}" for name in ("query", "key", "value"))
    inputs = (f"{mlp}/wi_0", f"{mlp}/wi_1")
    return (
        table(_TABLE, "token_embedder/embedding"),
        *norm("model.embeddings.norm", "encoder/embedding_norm"),
        *norm("model.final_norm", "encoder/final_norm"),
        *norm(f"{layer}.attn_norm", f"{ours}/self_attention_norm"),
        linear(f"{layer}.attn.Wqkv.weight", *projections),
        vector(f"{layer}.attn.Wqkv.bias", *(f"{leaf}_bias" for leaf in projections)),
        *dense(f"{layer}.attn.Wo", f"{attention}/out", bias=f"{attention}/out_bias"),
        *norm(f"{layer}.mlp_norm", f"{ours}/mlp_norm"),
        linear(f"{layer}.mlp.Wi.weight", *inputs),
        vector(f"{layer}.mlp.Wi.bias", *(f"{leaf}_bias" for leaf in inputs)),
        *dense(f"{layer}.mlp.Wo", f"{mlp}/wo", bias=f"{mlp}/wo_bias"),
        *dense("head.dense", f"{head}/dense/kernel", bias=f"{head}/dense/bias"),
        *norm("head.norm", f"{head}/norm"),
        *bert.head_rules(bert.CLASSIFIER, config.labels_group or bert.CLASSIFIER),
        vector("decoder.bias", "masked_lm/bias"),
    )


def _copies(config: EncoderOnlyConfig) -> dict[str, str]:
    return {"decoder.weight": _TABLE} if config.predicts_tokens else {}


def _to_json(config: EncoderOnlyConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    """Return config.json's content; transformers 4 reads ``global_`` and ``local_`` keys, 5 the others."""
    activation = next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == config.mlp.activation)
    positions = cast(RotaryPositions, config.positions)  # by _SHAPE
    bases = {_GLOBAL: positions.base, _LOCAL: positions.local_base or positions.base}
    windows = config.attention.windows
    values: dict[str, Any] = {
        "model_type": "modernbert",
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "intermediate_size": config.mlp_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "hidden_activation": activation,
        "classifier_activation": activation,
        "max_position_embeddings": config.max_length,
        "initializer_range": initial_std(config),
        "initializer_cutoff_factor": 2.0,
        "norm_eps": config.norm.epsilon,
        "norm_bias": config.norm.bias,
        "attention_bias": config.attention.biases == "all",
        "mlp_bias": config.mlp.bias,
        "classifier_bias": config.head_bias,
        "decoder_bias": True,
        "layer_types": _layer_types(windows, config.num_layers),
        "local_attention": 2 * next(iter(_widths(windows)), 64),
        "global_rope_theta": bases[_GLOBAL],
        "local_rope_theta": bases[_LOCAL],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()
        },
        "attention_dropout": config.dropout_rate,
        "mlp_dropout": config.dropout_rate,
        "embedding_dropout": config.dropout_rate,
        "tie_word_embeddings": True,
        "bos_token_id": tokens["bos"],
        "cls_token_id": tokens["bos"],
        "eos_token_id": tokens["eos"],
        "sep_token_id": tokens["eos"],
        "pad_token_id": tokens["pad"],
        "torch_dtype": dtype,
    }
    if _is_regular(windows):
        values[_EVERY] = len(windows)
    return values | bert.numbered_labels(config)


def _is_regular(windows: Windows) -> bool:
    return windows[0] is None and None not in windows[1:]


def _after_loading(config: EncoderOnlyConfig) -> str:
    """Return what is to be known of transformers 4, which has a global layer every so many and no others."""
    windows = config.attention.windows
    if _is_regular(windows):
        return ""
    return (
        f"by transformers 5 only: 4 does not read layer_types, and would compute attention.windows={windows} "
        "as if every third layer were global"
    )


def _layer_types(windows: Windows, num_layers: int) -> list[str]:
    return [_GLOBAL if windows[i % len(windows)] is None else _LOCAL for i in range(num_layers)]


def _from_json(values: Values) -> EncoderOnlyConfig:
    values.require(_SUPPORTED)
    _check_architectures(values)
    activation = values.choice("hidden_activation", _ACTIVATIONS, "gelu")
    if values.choice("classifier_activation", _ACTIVATIONS, "gelu") != activation:
        raise unsupported("classifier_activation", values.get("classifier_activation"), (activation,))
    embed_dim, num_heads = values.integer("hidden_size", 768), values.integer("num_attention_heads", 12)
    return EncoderOnlyConfig(
        vocab_size=values.integer("vocab_size", 50_368),
        embed_dim=embed_dim,
        mlp_dim=values.integer("intermediate_size", 1152),
        head_dim=values.head_dim("hidden_size", embed_dim, "num_attention_heads", num_heads),
        num_heads=num_heads,
        num_layers=values.integer("num_hidden_layers", 22),
        head="hidden",  # until the tensors are known
        num_token_types=0,
        head_bias=values.flag("classifier_bias", False),
        label_transform=True,
        max_length=values.integer("max_position_embeddings", 8192),
        positions=_positions(values),
        norm=LayerNorm(epsilon=values.number("norm_eps", 1e-5), bias=values.flag("norm_bias", False)),
        norm_placement="pre",
        first_norm=False,
        mlp=GatedMLP(activation=activation, bias=values.flag("mlp_bias", False)),
        attention=AttentionConfig(
            scaled=True,
            biases="all" if values.flag("attention_bias", False) else "none",
            windows=_windows(values),
        ),
        initializer=NormalInitializer(
            std=values.number("initializer_range", 0.02), truncated=True, scaled_outputs=True
        ),
        dropout_rate=values.number("attention_dropout", 0.0),
    )


def _check_architectures(values: Values) -> None:
    """Check that a model is one of those here.

    Raises:
      UserError: for its classifiers of texts, whose heads are other ones than here, with what to do.
    """
    try:
        values.architectures(tuple(_CLASSES.values()))
    except UserError as error:
        raise UserError(
            f"{error}; those that classify texts put a dense layer, an activation and a norm behind the mean "
            "or the first of the hidden states, which no head of texts here has. To import the encoder "
            "alone, save it by transformers' AutoModel.from_pretrained(FOLDER).save_pretrained(OUTPUT), the "
            "tokenizer likewise"
        ) from None


def _windows(values: Values) -> Windows:
    """Return the shortest pattern of windows that makes the layers what config.json says of each.

    Raises:
      CheckpointError: if there is not one type for each layer, or the pattern is longer than any model.
      UserError: for another type of layer.
    """
    width = values.integer("local_attention", 128, minimum=2) // 2
    num_layers, types = values.integer("num_hidden_layers", 22), values.get("layer_types")
    every = min(values.integer(_EVERY, 3), num_layers)
    if every > _LONGEST_PATTERN:
        raise CheckpointError(f"config.json: {_EVERY}={every} must be {_LONGEST_PATTERN} or less")
    regular: Windows = (None, *[width] * (every - 1))
    if types is None:
        return regular
    if not isinstance(types, list) or len(types) != num_layers:
        raise CheckpointError(
            f"config.json: layer_types={types!r} must be a list of num_hidden_layers={num_layers} types"
        )
    for kind in types:
        if kind not in (_GLOBAL, _LOCAL):
            raise unsupported("layer_types", kind, (_GLOBAL, _LOCAL))
    windows = tuple(None if kind == _GLOBAL else width for kind in types)
    patterns = (regular, *(windows[:length] for length in range(1, num_layers + 1)))
    return next(each for each in patterns if _layer_types(each, num_layers) == types)


def _positions(values: Values) -> RotaryPositions:
    """Return the two rotations, as transformers 5 or 4 wrote them.

    Raises:
      UserError: if the frequencies are changed by a scaling (linear, dynamic, yarn …).
    """
    by_kind = values.get("rope_parameters", {})
    scaling = values.get("rope_scaling", {})
    if not isinstance(by_kind, dict) or not isinstance(scaling, dict):
        raise UserError(
            f"config.json: rope_parameters={by_kind!r} and rope_scaling={scaling!r} must be objects"
        )
    if others := by_kind.keys() - {_GLOBAL, _LOCAL}:
        key = min(others)
        raise unsupported(f"rope_parameters.{key}", by_kind[key], (f"parameters by {_GLOBAL} and {_LOCAL}",))
    base = _base(
        "full_attention", by_kind.get(_GLOBAL), scaling, values.number("global_rope_theta", 160_000.0)
    )
    # transformers 4 takes a null for the global one, and a missing key for 10,000.
    unsaid = base if values.has(("local_rope_theta",)) else 10_000.0
    local = _base(
        "sliding_attention", by_kind.get(_LOCAL), scaling, values.number("local_rope_theta", unsaid)
    )
    return RotaryPositions(base=base, local_base=None if local == base else local)


def _base(kind: str, said: Any, scaling: dict[str, Any], default: float) -> float:
    if said is not None and not isinstance(said, dict):
        raise CheckpointError(f"config.json: rope_parameters: {kind}={said!r} must be an object")
    for key, parameters in (("rope_parameters", said or {}), ("rope_scaling", scaling)):
        rope_type = parameters.get("rope_type", parameters.get("type", "default"))
        if rope_type != "default":
            raise UserError(
                f"config.json: {key} has rope_type={rope_type!r}, which changes the rotary frequencies; "
                "allowed: 'default'"
            )
    parameters = Values(said or {}, f"rope_parameters.{kind}.")
    parameters.require({"partial_rotary_factor": (1.0,)})
    return parameters.number("rope_theta", default)


def _completed(config: EncoderOnlyConfig, values: Values, shapes: Mapping[str, Shape]) -> EncoderOnlyConfig:
    """Return ``config`` with the head that is among the tensors."""
    if "head.dense.weight" not in shapes:
        return config
    named = values.architectures(tuple(_CLASSES.values()))
    heads: list[Head] = [head for head in _CLASSES if HEADS[head].labels_tokens and _CLASSES[head] in named]
    head = heads[0] if heads else "masked_lm"
    return bert.with_head(config, head, values, shapes, labels=bert.CLASSIFIER)


def _generation_json(config: EncoderOnlyConfig, tokens: Tokens) -> dict[str, Any]:
    """Return almost nothing: an encoder does not generate, but the file marks an exported folder."""
    del config
    return {"pad_token_id": tokens["pad"]}


FAMILY = Family(
    model_types=("modernbert",),
    architecture=EncoderOnlyConfig,
    mismatches=_mismatches,
    class_name=lambda config: _CLASSES.get(config.head, "ModernBertForMaskedLM"),
    after_loading=_after_loading,
    to_json=_to_json,
    generation_json=_generation_json,
    from_json=_from_json,
    completed=_completed,
    rules=_rules,
    prefix="model.",
    heads=("head.", "decoder.", "classifier."),
    bare=lambda config: config.head_kind.is_bare,
    copies=_copies,
)
