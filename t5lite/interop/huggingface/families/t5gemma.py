"""T5Gemma: ``T5GemmaForConditionalGeneration``, of equal and unequal pairs.

config.json describes encoder and decoder apart. Here they differ in sizes and in the number of layers; what
else is said of a layer must be said of both.
"""

from collections.abc import Callable
from typing import Any, cast

from t5lite.core.errors import UserError
from t5lite.interop.differences import differences
from t5lite.interop.huggingface.family import (
    Family,
    Tokens,
    Values,
    initial_std,
    tied_head,
    unit_logit_scale,
    unsupported,
)
from t5lite.interop.huggingface.rotary import read_rotary
from t5lite.interop.huggingface.tensor_rules import Rule, linear, norm, table
from t5lite.models.config import (
    AttentionConfig,
    EncoderDecoderConfig,
    GatedMLP,
    NormalInitializer,
    RMSNorm,
    RotaryPositions,
    StackSizes,
    Unscaled,
)

_CLASSES = ("T5GemmaForConditionalGeneration", "T5GemmaModel")
_HEAD, _TABLE = "lm_head.out_proj.weight", "model.decoder.embed_tokens.weight"
LOCAL, GLOBAL = "sliding_attention", "full_attention"
_EOS = 1
_SHAPE: dict[str, tuple[Any, ...]] = {
    "separate_tables": (True,),
    "merged_attention": (False,),
    "positions": (RotaryPositions,),
    "positions.local_base": (None,),
    "positions.scaling": (Unscaled(),),
    "norm": (RMSNorm,),
    "norm.one_plus": (True,),
    "norm_placement": ("around",),
    "first_norm": (True,),
    "embedding_norm": (False,),
    "mlp": (GatedMLP(activation="gelu_tanh"),),
    "parallel_block": (False,),
    "attention.biases": ("none",),
    "attention.scaled": (True,),
    "attention.qk_norm": (False,),
    "attention.split_windows": (False,),
    "embedding_scale": ("sqrt_dim",),
    "table_dim": (None,),
}
_SUPPORTED: dict[str, tuple[Any, ...]] = {"is_encoder_decoder": (True,), "pad_token_id": (0,)}
_SUPPORTED_OF_A_SIDE: dict[str, tuple[Any, ...]] = {
    "hidden_activation": ("gelu_pytorch_tanh",),
    "attention_bias": (False,),
    "pad_token_id": (0,),
}
DEFAULT_WINDOW = 4096


def _mismatches(config: EncoderDecoderConfig) -> list[str]:
    phrases = differences(config, _SHAPE) + unit_logit_scale(config)
    if len({window for window in config.attention.windows if window is not None}) > 1:
        phrases.append(f"attention.windows={config.attention.windows} (only one width of window)")
    for name, sizes in (("", config.sizes), ("encoder_sizes.", config.encoder_sizes or config.sizes)):
        if sizes.embed_dim % sizes.num_heads:
            phrases.append(
                f"{name}embed_dim={sizes.embed_dim}, no multiple of {name}num_heads={sizes.num_heads}"
            )
    return phrases


def _rules(config: EncoderDecoderConfig) -> tuple[Rule, ...]:
    return (
        table(_TABLE, "token_embedder/embedding"),
        table("model.encoder.embed_tokens.weight", "encoder_embedder/embedding"),
        linear(_HEAD, "logits/kernel"),
        *_stack_rules("encoder", ("self",)),
        *_stack_rules("decoder", ("self", "cross")),
    )


def _stack_rules(side: str, attentions: tuple[str, ...]) -> tuple[Rule, ...]:
    layer, ours = f"model.{side}.layers.{{}}", f"{side}/layers"
    rules = [*norm(f"model.{side}.norm", f"{side}/final_norm")]
    for kind in attentions:
        leaf, tensor = f"{ours}/{kind}_attention", f"{layer}.{kind}_attn"
        rules += norm(f"{layer}.pre_{kind}_attn_layernorm", f"{leaf}_norm")
        for short, name in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "out")):
            rules.append(linear(f"{tensor}.{short}_proj.weight", f"{leaf}/{name}"))
        rules += norm(f"{layer}.post_{kind}_attn_layernorm", f"{leaf}_post_norm")
    rules += norm(f"{layer}.pre_feedforward_layernorm", f"{ours}/mlp_norm")
    for theirs, name in (("gate", "wi_0"), ("up", "wi_1"), ("down", "wo")):
        rules.append(linear(f"{layer}.mlp.{theirs}_proj.weight", f"{ours}/mlp/{name}"))
    rules += norm(f"{layer}.post_feedforward_layernorm", f"{ours}/mlp_post_norm")
    return tuple(rules)


def _to_json(config: EncoderDecoderConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    encoder_sizes = config.encoder_sizes or config.sizes
    ids = ids_of(config, tokens)
    return {
        "model_type": "t5gemma",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "encoder": _side_json(config, encoder_sizes, config.num_encoder_layers, ids),
        "decoder": {
            **_side_json(config, config.sizes, config.num_decoder_layers, ids),
            "is_decoder": True,
            "cross_attention_hidden_size": encoder_sizes.embed_dim,
        },
        "dropout_rate": config.dropout_rate,
        "attention_dropout": config.dropout_rate,
        "classifier_dropout_rate": config.dropout_rate,
        "initializer_range": initial_std(config),
        "tie_word_embeddings": config.tie_embeddings,
        **ids,
        "torch_dtype": dtype,
    }


def _side_json(
    config: EncoderDecoderConfig, sizes: StackSizes, num_layers: int, ids: dict[str, int]
) -> dict[str, Any]:
    """Return what config.json says of a stack; transformers 4 reads ``rope_theta``, 5 ``rope_parameters``."""
    base = cast(RotaryPositions, config.positions).base  # by _SHAPE
    windows = config.attention.windows
    kinds = [GLOBAL if window is None else LOCAL for window in windows]
    return {
        "model_type": "t5_gemma_module",
        "vocab_size": config.vocab_size,
        "hidden_size": sizes.embed_dim,
        "intermediate_size": sizes.mlp_dim,
        "num_hidden_layers": num_layers,
        "num_attention_heads": sizes.num_heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": config.max_length,
        "initializer_range": initial_std(config),
        "rms_norm_eps": config.norm.epsilon,
        "rope_theta": base,
        "rope_parameters": {"rope_type": "default", "rope_theta": base},
        "attention_bias": False,
        "attention_dropout": config.dropout_rate,
        "dropout_rate": config.dropout_rate,
        "query_pre_attn_scalar": config.attention.scale_dim or sizes.head_dim,
        "sliding_window": next((window for window in windows if window is not None), DEFAULT_WINDOW),
        "layer_types": [kinds[number % len(kinds)] for number in range(num_layers)],
        "attn_logit_softcapping": config.attention.softcap,
        "final_logit_softcapping": config.logit_softcap,
        "tie_word_embeddings": config.tie_embeddings,
        **ids,
    }


def ids_of(config: EncoderDecoderConfig, tokens: Tokens) -> dict[str, int]:
    """Return the ids of config.json, BOS in front of every text."""
    eos = tokens["eos"]
    return {
        "bos_token_id": config.start_id,
        "eos_token_id": _EOS if eos is None else eos,
        "pad_token_id": 0,
    }


def _generation_json(config: EncoderDecoderConfig, tokens: Tokens) -> dict[str, Any]:
    """Return generation_config.json's content: greedy, from BOS, until EOS."""
    return {**ids_of(config, tokens), "decoder_start_token_id": config.start_id}


def _from_json(values: Values) -> EncoderDecoderConfig:
    values.require(_SUPPORTED)
    values.architectures(_CLASSES)
    encoder, decoder = values.part("encoder"), values.part("decoder")
    common = of_both(encoder, decoder, _common)
    encoder_sizes, sizes = sizes_of(encoder), sizes_of(decoder)
    num_encoder_layers, num_decoder_layers = num_layers_of(encoder), num_layers_of(decoder)
    return EncoderDecoderConfig(
        vocab_size=common["vocab_size"],
        embed_dim=sizes.embed_dim,
        mlp_dim=sizes.mlp_dim,
        head_dim=sizes.head_dim,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        num_encoder_layers=num_encoder_layers,
        num_decoder_layers=num_decoder_layers,
        encoder_sizes=None if encoder_sizes == sizes else encoder_sizes,
        separate_tables=True,
        start_id=decoder.integer("bos_token_id", 2, minimum=0),
        max_length=decoder.integer("max_position_embeddings", 8192),
        positions=RotaryPositions(base=common["rope_theta"]),
        norm=RMSNorm(epsilon=common["rms_norm_eps"], one_plus=True),
        norm_placement="around",
        mlp=GatedMLP(activation="gelu_tanh"),
        attention=AttentionConfig(
            scaled=True,
            scale_dim=common["query_pre_attn_scalar"],
            softcap=common["attn_logit_softcapping"],
            windows=cycle_of(*(windows_of(side, local=_is_even) for side in (encoder, decoder))),
        ),
        tie_embeddings=values.flag("tie_word_embeddings", True),
        embedding_scale="sqrt_dim",
        logit_scale=1.0,
        logit_softcap=_cap(decoder, "final_logit_softcapping", 30.0),
        initializer=NormalInitializer(std=decoder.number("initializer_range", 0.02)),
        dropout_rate=values.number("dropout_rate", 0.0),
    )


def of_both(encoder: Values, decoder: Values, read: Callable[[Values], dict[str, Any]]) -> dict[str, Any]:
    """Return what the layers of both sides have in common, by key.

    Args:
      encoder: what config.json says of it.
      decoder: likewise.
      read: what must be the same, of a side.

    Raises:
      UserError: for a value that the layers here cannot have, or that differs.
    """
    of_encoder, of_decoder = read(encoder), read(decoder)
    for key, value in of_encoder.items():
        if value != of_decoder[key]:
            raise UserError(
                f"config.json: {encoder.name(key)}={value} and {decoder.name(key)}={of_decoder[key]} differ, "
                "which is not supported; allowed: sides that differ in their sizes and number of layers"
            )
    return of_decoder


def _common(side: Values) -> dict[str, Any]:
    side.require(_SUPPORTED_OF_A_SIDE)
    scale_dim = side.integer("query_pre_attn_scalar", 256)
    return {
        "vocab_size": side.integer("vocab_size", 256_000),
        "rope_theta": read_rotary(side, kinds=("default",)).base,
        "rms_norm_eps": side.number("rms_norm_eps", 1e-6),
        "query_pre_attn_scalar": None if scale_dim == sizes_of(side).head_dim else scale_dim,
        "attn_logit_softcapping": _cap(side, "attn_logit_softcapping", 50.0),
    }


def sizes_of(side: Values) -> StackSizes:
    """Return the sizes of a side."""
    num_heads, kv_heads = side.integer("num_attention_heads", 8), side.integer("num_key_value_heads", 4)
    return StackSizes(
        embed_dim=side.integer("hidden_size", 2304),
        mlp_dim=side.integer("intermediate_size", 9216),
        head_dim=side.integer("head_dim", 256),
        num_heads=num_heads,
        num_kv_heads=None if kv_heads == num_heads else kv_heads,
    )


def _is_even(number: int) -> bool:
    return number % 2 == 0


def num_layers_of(side: Values) -> int:
    """Return the number of layers of a side."""
    return side.integer("num_hidden_layers", 26)


def _cap(side: Values, key: str, default: float) -> float | None:
    """Return a softcap, of which null says that there is none."""
    return None if side.has((key,)) and side.get(key) is None else side.number(key, default)


def windows_of(side: Values, *, local: Callable[[int], bool]) -> list[int | None]:
    """Return the window of each layer.

    Args:
      side: what config.json says of a stack.
      local: whether a layer of this number has one, where ``layer_types`` does not say.

    Raises:
      UserError: for other kinds of layers than there are, or not as many kinds as layers.
    """
    num_layers, window = num_layers_of(side), side.integer("sliding_window", DEFAULT_WINDOW)
    kinds = side.get("layer_types", [LOCAL if local(number) else GLOBAL for number in range(num_layers)])
    if not isinstance(kinds, list) or len(kinds) != num_layers or {*kinds} - {LOCAL, GLOBAL}:
        raise unsupported(side.name("layer_types"), kinds, (f"{num_layers} of {LOCAL} and {GLOBAL}",))
    if LOCAL in kinds and not side.says("sliding_window"):
        raise unsupported(side.name("sliding_window"), None, (f"an integer, as there is {LOCAL}",))
    return [window if kind == LOCAL else None for kind in kinds]


def cycle_of(encoder: list[int | None], decoder: list[int | None]) -> tuple[int | None, ...]:
    """Return the shortest turn of windows that gives the layers of both sides.

    Raises:
      UserError: if there is none.
    """
    longer = max(encoder, decoder, key=len)
    for length in range(1, len(longer) + 1):
        cycle = longer[:length]
        if all(window == cycle[i % length] for side in (encoder, decoder) for i, window in enumerate(side)):
            return tuple(cycle)
    raise UserError(
        f"config.json: the windows of encoder and decoder, by layer_types and sliding_window {encoder} and "
        f"{decoder}, do not follow one pattern, which is not supported"
    )


FAMILY = Family(
    model_types=("t5gemma",),
    architecture=EncoderDecoderConfig,
    mismatches=_mismatches,
    class_name=lambda _: _CLASSES[0],
    to_json=_to_json,
    generation_json=_generation_json,
    from_json=_from_json,
    rules=_rules,
    prefix="model.",
    heads=("lm_head.",),
    copies=tied_head(_HEAD, _TABLE),
    default_eos=_EOS,
)
