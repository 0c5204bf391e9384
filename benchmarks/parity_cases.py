"""Tiny models of transformers with perturbed weights, one for each class that t5lite reads and writes.

Widths, depths and lengths all differ, so that no two axes, stacks or sequences can be confused, and every
parameter is perturbed, norms and biases included: zeros and ones would hide what they are added to.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers

VOCAB_SIZE = 50
LENGTHS = np.array([13, 5, 1, 9])
"""Real tokens of each row; the rest is padding at the end."""
DECODER_LENGTHS = np.array([4, 11, 7, 1])


@dataclass(frozen=True)
class Case:
    """One model of the table.

    Attributes:
      name: of the row.
      make: returns the transformers model, its weights still those of its own initialisation.
      architecture: of ``t5lite.models.config``; it decides what the model is run on.
      gradients: whether gradients are compared as well; they take longer to compile than logits.
    """

    name: str
    make: Callable[[], Any]
    architecture: str
    gradients: bool = False


def _t5(family: str, **fields: Any) -> Callable[[], Any]:
    def make() -> Any:
        sizes = {
            "d_model": 16,
            "d_ff": 20,
            "d_kv": 6,
            "num_heads": 3,
            "num_layers": 2,
            "num_decoder_layers": 3,
        }
        buckets = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 8}
        config = getattr(transformers, f"{family}Config")(vocab_size=VOCAB_SIZE, **sizes, **buckets, **fields)
        model = getattr(transformers, f"{family}ForConditionalGeneration")(config)
        if config.feed_forward_proj == "gated-gelu":
            # Every T5 is made tied by transformers 5; all but 1.0 were published with a head of their own.
            scale = 1.0 if family == "UMT5" else 0.3  # umT5 multiplies its logits by d_model^-0.5
            model.lm_head.weight = torch.nn.Parameter(scale * torch.randn_like(model.shared.weight))
        return model

    return make


def _bert(class_name: str, **fields: Any) -> Callable[[], Any]:
    return _encoder(class_name, transformers.BertConfig, **fields)


def _roberta(class_name: str, **fields: Any) -> Callable[[], Any]:
    return _encoder(class_name, transformers.RobertaConfig, layer_norm_eps=1e-5, **fields)


def _encoder(class_name: str, config_class: Any, **fields: Any) -> Callable[[], Any]:
    def make() -> Any:
        config = config_class(
            vocab_size=VOCAB_SIZE,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=36,
            max_position_embeddings=20,
            **fields,
        )
        return getattr(transformers, class_name)(config)

    return make


def _modernbert() -> Any:
    """Return two global layers about two local ones, with windows that all rows but one are longer than."""
    return transformers.ModernBertForMaskedLM(
        transformers.ModernBertConfig(
            vocab_size=VOCAB_SIZE,
            hidden_size=24,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=36,
            local_attention=6,
            pad_token_id=0,
            attn_implementation="eager",
        )
    )


def _gpt2() -> Any:
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=VOCAB_SIZE,
            n_positions=20,
            n_embd=24,
            n_layer=2,
            n_head=4,
            n_inner=36,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def _opt(**fields: Any) -> Callable[[], Any]:
    def make() -> Any:
        return transformers.OPTForCausalLM(
            transformers.OPTConfig(
                vocab_size=VOCAB_SIZE,
                hidden_size=24,
                num_hidden_layers=2,
                num_attention_heads=4,
                ffn_dim=36,
                max_position_embeddings=20,
                **{"word_embed_proj_dim": 24, **fields},
            )
        )

    return make


def _llama(name: str = "Llama", **fields: Any) -> Callable[[], Any]:
    """Return what makes a Llama, or a model of another family with its fields."""

    def make() -> Any:
        return getattr(transformers, f"{name}ForCausalLM")(
            getattr(transformers, f"{name}Config")(
                vocab_size=VOCAB_SIZE,
                hidden_size=24,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=36,
                max_position_embeddings=32,
                **fields,
            )
        )

    return make


def _t5gemma() -> Any:
    """Return an unequal pair, with windows that all rows but one are longer than."""
    decoder = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window": 3,
        "max_position_embeddings": 32,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 4.0,
    }
    encoder = {
        **decoder,
        "hidden_size": 20,
        "intermediate_size": 28,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 6,
        "query_pre_attn_scalar": 6,
    }
    return transformers.T5GemmaForConditionalGeneration(
        transformers.T5GemmaConfig(
            encoder=encoder, decoder=decoder, vocab_size=VOCAB_SIZE, attn_implementation="eager"
        )
    )


CASES: tuple[Case, ...] = (
    Case("T5 1.0", _t5("T5", feed_forward_proj="relu"), "encoder_decoder"),
    Case(
        "T5 1.1",
        _t5("T5", feed_forward_proj="gated-gelu", tie_word_embeddings=False),
        "encoder_decoder",
        gradients=True,
    ),
    Case("mT5", _t5("MT5"), "encoder_decoder"),
    Case("umT5", _t5("UMT5"), "encoder_decoder"),
    Case("BertModel", _bert("BertModel"), "encoder_only"),
    Case("BertForPreTraining", _bert("BertForPreTraining"), "encoder_only", gradients=True),
    Case("BertForMaskedLM", _bert("BertForMaskedLM"), "encoder_only"),
    Case(
        "BertForSequenceClassification", _bert("BertForSequenceClassification", num_labels=3), "encoder_only"
    ),
    Case("BertForTokenClassification", _bert("BertForTokenClassification", num_labels=5), "encoder_only"),
    Case("BertForQuestionAnswering", _bert("BertForQuestionAnswering"), "encoder_only"),
    Case("GPT-2", _gpt2, "decoder_only", gradients=True),
    Case("OPT (as 125M)", _opt(), "decoder_only"),
    Case("OPT (as 350M)", _opt(word_embed_proj_dim=10, do_layer_norm_before=False), "decoder_only"),
    Case(
        "Llama (grouped heads)",
        _llama(num_key_value_heads=2, tie_word_embeddings=False),
        "decoder_only",
        gradients=True,
    ),
    Case("Llama (tied)", _llama(tie_word_embeddings=True), "decoder_only"),
    Case(
        "Llama 3.1 (scaled rotations)",
        _llama(
            num_key_value_heads=2,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 100.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        ),
        "decoder_only",
    ),
    Case(
        "Mistral (window of 4)",
        _llama("Mistral", num_key_value_heads=2, sliding_window=4),
        "decoder_only",
        gradients=True,
    ),
    Case("Qwen 2", _llama("Qwen2", num_key_value_heads=2), "decoder_only", gradients=True),
    Case(
        "Qwen 3",
        _llama("Qwen3", num_key_value_heads=2, head_dim=8),
        "decoder_only",
        gradients=True,
    ),
    Case("RobertaForMaskedLM", _roberta("RobertaForMaskedLM"), "encoder_only"),
    Case(
        "RobertaForSequenceClassification",
        _roberta("RobertaForSequenceClassification", num_labels=5),
        "encoder_only",
    ),
    Case("ModernBertForMaskedLM", _modernbert, "encoder_only", gradients=True),
    Case("T5Gemma (unequal pair)", _t5gemma, "encoder_decoder", gradients=True),
)


def make_peer(case: Case) -> Any:
    """Return the case's transformers model with perturbed weights, in evaluation mode."""
    torch.manual_seed(CASES.index(case))
    peer = case.make()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return peer.eval()


def make_batch(architecture: str) -> dict[str, np.ndarray]:
    """Return four padded rows with the fields of ``t5lite.core.types.Batch``."""
    rng = np.random.default_rng(1)

    def tokens_and_ids(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ids = (np.arange(lengths.max())[None, :] < lengths[:, None]).astype(np.int32)
        # Padding is filled with noise: what stands there may not matter.
        return rng.integers(2, VOCAB_SIZE, ids.shape).astype(np.int32), ids

    batch: dict[str, np.ndarray] = {}
    if architecture != "decoder_only":
        batch["encoder_input_tokens"], ids = tokens_and_ids(LENGTHS)
        batch["encoder_segment_ids"] = ids
    if architecture == "encoder_only":
        batch["encoder_token_types"] = rng.integers(0, 2, ids.shape).astype(np.int32)
    else:
        batch["decoder_input_tokens"], batch["decoder_segment_ids"] = tokens_and_ids(DECODER_LENGTHS)
    return batch


def real_positions(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return which positions of the outputs are not padding, bool ``[B, L]``."""
    stack = "decoder" if "decoder_segment_ids" in batch else "encoder"
    return batch[f"{stack}_segment_ids"] == 1


_OUTPUTS = {
    "last_hidden_state": "hidden",
    "pooler_output": "pooled",
    "prediction_logits": "tokens",
    "seq_relationship_logits": "sequence",
}
_LOGITS = {
    "BertForSequenceClassification": "sequence",
    "RobertaForSequenceClassification": "sequence",
    "BertForTokenClassification": "labels",
}


def run_peer(peer: Any, batch: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return the outputs of a transformers model under the names that t5lite has for them."""
    names = {
        "encoder_input_tokens": "input_ids",
        "encoder_segment_ids": "attention_mask",
        "encoder_token_types": "token_type_ids",
    }
    prefix = "decoder_" if "encoder_input_tokens" in batch else ""
    names |= {
        "decoder_input_tokens": f"{prefix}input_ids",
        "decoder_segment_ids": f"{prefix}attention_mask",
    }
    if isinstance(peer, transformers.ModernBertPreTrainedModel):  # which has no token types
        batch = {field: array for field, array in batch.items() if field != "encoder_token_types"}
    outputs = peer(**{names[field]: torch.from_numpy(array).long() for field, array in batch.items()})
    if "logits" in outputs:
        return {_LOGITS.get(type(peer).__name__, "tokens"): outputs["logits"]}
    if "start_logits" in outputs:
        return {"span": torch.stack([outputs["start_logits"], outputs["end_logits"]], dim=-1)}
    return {ours: outputs[theirs] for theirs, ours in _OUTPUTS.items() if theirs in outputs}
