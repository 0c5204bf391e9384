"""T5Gemma 2: the text part of ``T5Gemma2ForConditionalGeneration``, which reads images too.

Its vision tower and the vector that stands behind an image (``eoi_embedding``) are left out on the way in. On
the way out the smallest tower stands in for it, of zeros, and no id of a text is one of an image.
"""

import logging
from typing import Any, cast

from t5lite.core.errors import UserError
from t5lite.interop.differences import differences
from t5lite.interop.huggingface.families import t5gemma
from t5lite.interop.huggingface.families.t5gemma import GLOBAL, LOCAL
from t5lite.interop.huggingface.family import (
    Family,
    Tokens,
    Values,
    initial_std,
    unit_logit_scale,
)
from t5lite.interop.huggingface.rotary import read_rotary, rotary_json
from t5lite.interop.huggingface.tensor_rules import Rule, linear, norm, table
from t5lite.interop.trees import Shape
from t5lite.models.config import (
    AttentionConfig,
    EncoderDecoderConfig,
    GatedMLP,
    LinearScaling,
    NormalInitializer,
    RMSNorm,
    RotaryPositions,
    Unscaled,
)

logger = logging.getLogger(__name__)

_CLASSES = ("T5Gemma2ForConditionalGeneration", "T5Gemma2Model")
_ENCODER, _DECODER, _HEAD = "model.encoder.", "model.decoder.", "lm_head.out_proj.weight"
_TABLE = f"{_ENCODER}embed_tokens.weight"
_LOCAL_BASE, _GLOBAL_BASE = 10_000.0, 1_000_000.0
_PATTERN = 6
"""Every so many layers one sees everything."""
_EOS, _EOI = 1, 256_000
_SCALINGS = ("default", "linear")
_SHAPE: dict[str, tuple[Any, ...]] = {
    "merged_attention": (True,),
    "separate_tables": (False,),
    "tie_embeddings": (True,),
    "encoder_sizes": (None,),
    "positions": (RotaryPositions,),
    "positions.scaling": (Unscaled, LinearScaling),
    "norm": (RMSNorm,),
    "norm.one_plus": (True,),
    "norm_placement": ("around",),
    "first_norm": (True,),
    "embedding_norm": (False,),
    "mlp": (GatedMLP(activation="gelu_tanh"),),
    "parallel_block": (False,),
    "attention.biases": ("none",),
    "attention.scaled": (True,),
    "attention.softcap": (None,),
    "attention.qk_norm": (True,),
    "embedding_scale": ("sqrt_dim",),
    "table_dim": (None,),
}
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "is_encoder_decoder": (True,),
    "pad_token_id": (0,),
    "tie_word_embeddings": (True,),
}
_SUPPORTED_OF_A_SIDE: dict[str, tuple[Any, ...]] = {
    "hidden_activation": ("gelu_pytorch_tanh",),
    "attention_bias": (False,),
    # The class keeps it, and does not apply it.
    "attn_logit_softcapping": (None,),
    "pad_token_id": (0,),
}
_TOWER = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1,
    "intermediate_size": 1,
    "num_hidden_layers": 0,
    "num_attention_heads": 1,
    "image_size": 1,
    "patch_size": 1,
    "vision_use_head": False,
}


def _mismatches(config: EncoderDecoderConfig) -> list[str]:
    phrases = differences(config, _SHAPE) + unit_logit_scale(config)
    windows = {window for window in config.attention.windows if window is not None}
    if len(windows) > 1:
        phrases.append(f"attention.windows={config.attention.windows} (only one width of window)")
    if windows and not config.attention.split_windows:
        phrases.append("attention.split_windows=False (only True)")
    if config.embed_dim % config.num_heads:
        phrases.append(f"embed_dim={config.embed_dim}, no multiple of num_heads={config.num_heads}")
    return phrases


def _rules(config: EncoderDecoderConfig) -> tuple[Rule, ...]:
    del config
    rules = [table(_TABLE, "token_embedder/embedding")]
    for side, theirs in (("encoder", _ENCODER), ("decoder", _DECODER)):
        layer, ours = f"{theirs}layers.{{}}", f"{side}/layers"
        rules += norm(f"{theirs}norm", f"{side}/final_norm")
        for short, name in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "out")):
            rules.append(linear(f"{layer}.self_attn.{short}_proj.weight", f"{ours}/self_attention/{name}"))
        for short, name in (("q", "query"), ("k", "key")):
            rules += norm(f"{layer}.self_attn.{short}_norm", f"{ours}/self_attention/{name}_norm")
        for short, name in (("gate", "wi_0"), ("up", "wi_1"), ("down", "wo")):
            rules.append(linear(f"{layer}.mlp.{short}_proj.weight", f"{ours}/mlp/{name}"))
        for block, name in (("self_attn", "self_attention"), ("feedforward", "mlp")):
            rules += norm(f"{layer}.pre_{block}_layernorm", f"{ours}/{name}_norm")
            rules += norm(f"{layer}.post_{block}_layernorm", f"{ours}/{name}_post_norm")
    return tuple(rules)


def _placeholders(config: EncoderDecoderConfig) -> dict[str, Shape]:
    tower, projector = f"{_ENCODER}vision_tower.", f"{_ENCODER}multi_modal_projector."
    return {
        f"{_ENCODER}embed_tokens.eoi_embedding": (config.embed_dim,),
        f"{tower}embeddings.patch_embedding.weight": (1, 3, 1, 1),
        f"{tower}embeddings.patch_embedding.bias": (1,),
        f"{tower}embeddings.position_embedding.weight": (1, 1),
        f"{tower}post_layernorm.weight": (1,),
        f"{tower}post_layernorm.bias": (1,),
        f"{projector}mm_input_projection_weight": (1, config.embed_dim),
        f"{projector}mm_soft_emb_norm.weight": (1,),
    }


def _to_json(config: EncoderDecoderConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
    ids = t5gemma.ids_of(config, tokens)
    no_text = {f"{name}_token_index": config.vocab_size for name in ("boi", "eoi", "image")}
    return {
        "model_type": "t5gemma2",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "encoder": {
            "model_type": "t5gemma2_encoder",
            "text_config": _side_json(config, "t5gemma2_text", config.num_encoder_layers, ids),
            "vision_config": _TOWER,
            "mm_tokens_per_image": 1,
            "tie_word_embeddings": True,
            **no_text,
        },
        "decoder": _side_json(config, "t5gemma2_decoder", config.num_decoder_layers, ids),
        "image_token_index": config.vocab_size,
        "eoi_token_index": config.vocab_size,
        "dropout_rate": config.dropout_rate,
        "attention_dropout": config.dropout_rate,
        "classifier_dropout_rate": config.dropout_rate,
        "initializer_range": initial_std(config),
        "tie_word_embeddings": True,
        **ids,
        "torch_dtype": dtype,
    }


def _side_json(
    config: EncoderDecoderConfig, model_type: str, num_layers: int, ids: dict[str, int]
) -> dict[str, Any]:
    positions = cast(RotaryPositions, config.positions)  # by _SHAPE
    windows = config.attention.windows
    kinds = [GLOBAL if window is None else LOCAL for window in windows]
    turned = {
        kind: rotary_json(positions.rotation(windowed=kind == LOCAL))["rope_parameters"]
        for kind in (GLOBAL, LOCAL)
    }
    return {
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.embed_dim,
        "intermediate_size": config.mlp_dim,
        "num_hidden_layers": num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": config.max_length,
        "initializer_range": initial_std(config),
        "rms_norm_eps": config.norm.epsilon,
        "rope_parameters": turned,
        "attention_bias": False,
        "attention_dropout": config.dropout_rate,
        "dropout_rate": config.dropout_rate,
        "query_pre_attn_scalar": config.attention.scale_dim or config.head_dim,
        "sliding_window": next((w for w in windows if w is not None), t5gemma.DEFAULT_WINDOW),
        "layer_types": [kinds[number % len(kinds)] for number in range(num_layers)],
        "attn_logit_softcapping": None,
        "final_logit_softcapping": config.logit_softcap,
        "tie_word_embeddings": True,
        **ids,
    }


def _generation_json(config: EncoderDecoderConfig, tokens: Tokens) -> dict[str, Any]:
    """Return generation_config.json's content: greedy, from BOS, until EOS."""
    return {**t5gemma.ids_of(config, tokens), "decoder_start_token_id": config.start_id}


def _from_json(values: Values) -> EncoderDecoderConfig:
    values.require(_SUPPORTED)
    values.architectures(_CLASSES)
    encoder, decoder = values.part("encoder").part("text_config"), values.part("decoder")
    of_both = t5gemma.of_both(encoder, decoder, _common)
    sizes = of_both["sizes"]
    windows = [t5gemma.windows_of(side, local=_is_local(side)) for side in (encoder, decoder)]
    _tell_end_of_image(values, of_both["vocab_size"])
    return EncoderDecoderConfig(
        vocab_size=of_both["vocab_size"],
        embed_dim=sizes.embed_dim,
        mlp_dim=sizes.mlp_dim,
        head_dim=sizes.head_dim,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        num_encoder_layers=t5gemma.num_layers_of(encoder),
        num_decoder_layers=t5gemma.num_layers_of(decoder),
        merged_attention=True,
        start_id=decoder.integer("bos_token_id", 2, minimum=0),
        max_length=decoder.integer("max_position_embeddings", 131_072),
        positions=of_both["rope_parameters"],
        norm=RMSNorm(epsilon=of_both["rms_norm_eps"], one_plus=True),
        norm_placement="around",
        mlp=GatedMLP(activation="gelu_tanh"),
        attention=AttentionConfig(
            scaled=True,
            scale_dim=of_both["query_pre_attn_scalar"],
            qk_norm=True,
            windows=t5gemma.cycle_of(*windows),
            split_windows=True,
        ),
        tie_embeddings=True,
        embedding_scale="sqrt_dim",
        logit_scale=1.0,
        logit_softcap=_softcap(decoder),
        initializer=NormalInitializer(std=decoder.number("initializer_range", 0.02)),
        dropout_rate=values.number("dropout_rate", 0.0),
    )


def _common(side: Values) -> dict[str, Any]:
    """Return what the layers of both sides have in common, by key."""
    side.require(_SUPPORTED_OF_A_SIDE)
    sizes, scale_dim = t5gemma.sizes_of(side), side.integer("query_pre_attn_scalar", 256)
    return {
        "vocab_size": side.integer("vocab_size", 262_208),
        "sizes": sizes,
        "rope_parameters": _positions(side),
        "rms_norm_eps": side.number("rms_norm_eps", 1e-6),
        "query_pre_attn_scalar": None if scale_dim == sizes.head_dim else scale_dim,
    }


def _positions(side: Values) -> RotaryPositions:
    """Return the positions of both kinds of layers; before transformers 5, keys of their own say them.

    Raises:
      UserError: for scaling that the layers here cannot have.
    """
    given = side.part("rope_parameters")
    flat = next((key for key in ("rope_type", "rope_theta") if given.get(key) is not None), None)
    if flat is not None:
        raise UserError(
            f"config.json: {given.name(flat)}={given.get(flat)!r} is not supported; allowed: an object for "
            f"{GLOBAL} and one for {LOCAL}, as transformers 5 writes them"
        )

    def read(kind: str, base_key: str, base: float, kinds: tuple[str, ...], scaling: str) -> RotaryPositions:
        for values, name in ((given, kind), (side, scaling)):
            values.part(name)  # an object, or refused
        said = {**given.get(kind, {}), **side.get(scaling, {})}
        theta = side.number(base_key, base)
        return read_rotary(Values({"rope_parameters": said, "rope_theta": theta}, side.name("")), kinds=kinds)

    whole = read(GLOBAL, "rope_theta", _GLOBAL_BASE, _SCALINGS, "rope_scaling")
    local = read(LOCAL, "rope_local_base_freq", _LOCAL_BASE, ("default",), "")
    return RotaryPositions(base=whole.base, local_base=local.base, scaling=whole.scaling)


def _is_local(side: Values) -> Any:
    pattern = side.integer("sliding_window_pattern", _PATTERN)
    return lambda number: bool((number + 1) % pattern)


def _softcap(decoder: Values) -> float | None:
    key = "final_logit_softcapping"
    return None if decoder.get(key) is None else decoder.number(key)


def _tell_end_of_image(values: Values, vocab_size: int) -> None:
    """Say which id of a text means something else than there."""
    eoi = values.part("encoder").integer("eoi_token_index", _EOI, minimum=0)
    if eoi < vocab_size:
        logger.warning(
            "images are not read: the input id %d, the end of one, is embedded by its row of the table, not "
            "by the checkpoint's eoi_embedding; a text without that id is read as there",
            eoi,
        )


FAMILY = Family(
    model_types=("t5gemma2",),
    architecture=EncoderDecoderConfig,
    mismatches=_mismatches,
    class_name=lambda _: _CLASSES[0],
    to_json=_to_json,
    generation_json=_generation_json,
    from_json=_from_json,
    rules=_rules,
    prefix="model.",
    heads=("lm_head.",),
    copies=lambda _: {_HEAD: _TABLE, f"{_DECODER}embed_tokens.weight": _TABLE},
    renames=((r"(^|\.)encoder\.text_model\.", r"\1encoder."),),
    optional_parts=(
        r"model\.encoder\.(vision_tower|multi_modal_projector)\..*",
        r"model\.(encoder|decoder)\.embed_tokens\.eoi_embedding",
    ),
    placeholders=_placeholders,
    default_eos=_EOS,
)
