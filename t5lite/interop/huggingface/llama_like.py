"""Families whose tensors have Llama's names: what they share, and where each is its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from t5lite.interop.differences import differences
from t5lite.interop.huggingface.family import (
    ONLY_PLAIN,
    OTHER_HEADS,
    Family,
    Tokens,
    Values,
    initial_std,
    tied_head,
    token_ids_of_decoder,
    unit_logit_scale,
    unsupported,
)
from t5lite.interop.huggingface.rotary import read_rotary, rotary_json
from t5lite.interop.huggingface.tensor_rules import Rule, dense, linear, norm, table
from t5lite.models.config import (
    AttentionConfig,
    DecoderOnlyConfig,
    GatedMLP,
    NormalInitializer,
    RMSNorm,
    RotaryPositions,
)

_GLOBAL = "full_attention"
_TABLE, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_SHAPE: dict[str, tuple[Any, ...]] = {
    **ONLY_PLAIN,
    "positions": (RotaryPositions,),
    "positions.local_base": (None,),
    "norm": (RMSNorm,),
    "norm.one_plus": (False,),
    "norm_placement": ("pre",),
    "embedding_norm": (False,),
    "mlp": (GatedMLP(activation="silu"),),
    "parallel_block": (False,),
    "prefix_attention": ("causal",),
    "attention.biases": ("none",),
    "attention.scaled": (True,),
    "table_dim": (None,),
}


@dataclass(frozen=True, kw_only=True)
class LlamaLike:
    """One such family.

    Attributes:
      model_type: of config.json.
      name: how the names of its classes begin.
      defaults: of config.json's keys that are not Llama's.
      shape: what its models may be that Llama's may not, and the other way round.
      supported: values of config.json that can be read, by key.
      attention: of its models, from config.json.
      attention_json: the keys that ``attention`` reads.
      refusals: why a configuration is none of the family beyond ``shape``.
    """

    model_type: str
    name: str
    defaults: dict[str, Any]
    shape: dict[str, tuple[Any, ...]]
    supported: dict[str, tuple[Any, ...]]
    attention: Callable[[Values], AttentionConfig] = lambda _: AttentionConfig(scaled=True)
    attention_json: Callable[[DecoderOnlyConfig], dict[str, Any]]
    refusals: Callable[[DecoderOnlyConfig], list[str]] = lambda _: []

    def family(self) -> Family:
        """Return what reads and writes it."""
        return Family(
            model_types=(self.model_type,),
            architecture=DecoderOnlyConfig,
            mismatches=self._mismatches,
            class_name=lambda _: f"{self.name}ForCausalLM",
            to_json=self._to_json,
            generation_json=token_ids_of_decoder,
            from_json=self._from_json,
            rules=_rules,
            prefix="model.",
            heads=("lm_head.",),
            copies=tied_head(_HEAD, _TABLE),
            optional_parts=OTHER_HEADS,
            # Frequencies of the rotary positions, which earlier versions saved.
            ignorable=(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.(inv_freq|cos_cached|sin_cached)",),
        )

    def _mismatches(self, config: DecoderOnlyConfig) -> list[str]:
        phrases = differences(config, {**_SHAPE, **self.shape}) + unit_logit_scale(config)
        return phrases + self.refusals(config)

    def _to_json(self, config: DecoderOnlyConfig, dtype: str, tokens: Tokens) -> dict[str, Any]:
        return {
            "model_type": self.model_type,
            "vocab_size": config.vocab_size,
            "hidden_size": config.embed_dim,
            "intermediate_size": config.mlp_dim,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads,
            "num_key_value_heads": config.kv_heads,
            "head_dim": config.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": config.max_length,
            "initializer_range": initial_std(config),
            "rms_norm_eps": config.norm.epsilon,
            **rotary_json(cast(RotaryPositions, config.positions)),  # by _SHAPE
            **self.attention_json(config),
            "attention_dropout": config.dropout_rate,
            "tie_word_embeddings": config.tie_embeddings,
            "bos_token_id": tokens["bos"],
            "eos_token_id": tokens["eos"],
            "pad_token_id": tokens["pad"],
            "torch_dtype": dtype,
        }

    def _from_json(self, values: Values) -> DecoderOnlyConfig:
        values.require({"hidden_act": ("silu",), "is_encoder_decoder": (False,), **self.supported})
        values.architectures((f"{self.name}ForCausalLM", f"{self.name}Model"))
        _check_layer_types(values)

        def integer(key: str, default: int) -> int:
            return values.integer(key, self.defaults.get(key, default))

        embed_dim, num_heads = integer("hidden_size", 4096), integer("num_attention_heads", 32)
        # A null says that there are as many as heads; a key that is missing, what the class has.
        said = values.says("num_key_value_heads")
        kv_heads = integer("num_key_value_heads", num_heads) if said else num_heads
        head_dim = values.get("head_dim", self.defaults.get("head_dim"))
        if head_dim is None:
            head_dim = values.head_dim("hidden_size", embed_dim, "num_attention_heads", num_heads)
        else:
            head_dim = values.integer("head_dim", self.defaults.get("head_dim"))
        return DecoderOnlyConfig(
            vocab_size=integer("vocab_size", 32000),
            embed_dim=embed_dim,
            mlp_dim=integer("intermediate_size", 11008),
            head_dim=head_dim,
            num_heads=num_heads,
            num_kv_heads=None if kv_heads == num_heads else kv_heads,
            num_layers=integer("num_hidden_layers", 32),
            max_length=integer("max_position_embeddings", 2048),
            positions=read_rotary(values),
            norm=RMSNorm(epsilon=values.number("rms_norm_eps", 1e-6)),
            attention=self.attention(values),
            tie_embeddings=values.flag("tie_word_embeddings", False),
            initializer=NormalInitializer(std=values.number("initializer_range", 0.02)),
            dropout_rate=values.number("attention_dropout", 0.0),
        )


def _check_layer_types(values: Values) -> None:
    """Check that no layers are told apart: what windows there are, all of them have.

    Raises:
      UserError: for layers of another kind.
    """
    types = values.get("layer_types", [])
    if not isinstance(types, list) or any(kind != _GLOBAL for kind in types):
        raise unsupported("layer_types", types, ([_GLOBAL],))


def _rules(config: DecoderOnlyConfig) -> tuple[Rule, ...]:
    del config  # rules of biases and norms that a model lacks do not apply
    layer, ours = "model.layers.{}", "decoder/layers"
    attention, mlp = f"{ours}/self_attention", f"{ours}/mlp"
    projections = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}
    return (
        table(_TABLE, "token_embedder/embedding"),
        linear(_HEAD, "logits/kernel"),
        *norm("model.norm", "decoder/final_norm"),
        *norm(f"{layer}.input_layernorm", f"{ours}/self_attention_norm"),
        *(
            rule
            for theirs, name in projections.items()
            for rule in dense(
                f"{layer}.self_attn.{theirs}", f"{attention}/{name}", bias=f"{attention}/{name}_bias"
            )
        ),
        linear(f"{layer}.self_attn.o_proj.weight", f"{attention}/out"),
        *norm(f"{layer}.self_attn.q_norm", f"{attention}/query_norm"),
        *norm(f"{layer}.self_attn.k_norm", f"{attention}/key_norm"),
        *norm(f"{layer}.post_attention_layernorm", f"{ours}/mlp_norm"),
        linear(f"{layer}.mlp.gate_proj.weight", f"{mlp}/wi_0"),
        linear(f"{layer}.mlp.up_proj.weight", f"{mlp}/wi_1"),
        linear(f"{layer}.mlp.down_proj.weight", f"{mlp}/wo"),
    )
