"""Models that transformers does not have, and values of config.json that cannot be read: refused by name."""

import dataclasses

import pytest
from huggingface_families import (
    CONFIGS,
    change_json,
    exported,
)

from t5lite.core.errors import UserError
from t5lite.interop.huggingface import (
    export_folder,
    fits,
    import_folder,
)
from t5lite.models.config import (
    AttentionConfig,
    GatedMLP,
    LayerNorm,
    LearnedPositions,
    PlainMLP,
    SinusoidalPositions,
    StackSizes,
)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "t5",
            {"positions": SinusoidalPositions()},
            r"T5ForCondit.*positions=SinusoidalPositions\(\) .only RelativePositions",
        ),
        (
            "t5",
            {"norm": LayerNorm(), "attention": AttentionConfig(biases="qkv", windows=(4, None))},
            r"does not have attention.windows=\(4, None\) .only \(None,\).; "
            r"norm=LayerNorm\(.*\) .only RMSNorm.; attention.biases='qkv' .only 'none'.$",
        ),
        ("t5", {"logit_scale": 0.5}, "logits scaled by 0.5 .only by 1"),
        ("t5", {"num_kv_heads": 1}, "num_kv_heads=1 .only one for each of 2 heads"),
        (
            "gpt2",
            {"parallel_block": True},
            "GPT2LMHeadModel, does not have parallel_block=True .only False",
        ),
        ("gpt2", {"head_dim": 5}, "num_heads=2 x head_dim=5 unlike embed_dim=8"),
        (
            "opt",
            {"norm": LayerNorm(epsilon=1e-6), "positions": LearnedPositions(offset=1)},
            r"positions=LearnedPositions\(offset=1\) .only LearnedPositions\(offset=0\)",
        ),
        (
            "llama",
            {"mlp": GatedMLP(activation="gelu_tanh")},
            r"LlamaForCausalLM, does not have mlp=GatedMLP\(activation='gelu_tanh', bias=False\)",
        ),
        ("t5", {"start_id": 2}, "start_id=2 .only 0"),
        (
            "t5gemma",
            {"encoder_sizes": StackSizes(embed_dim=6, mlp_dim=8, head_dim=2, num_heads=4)},
            "encoder_sizes.embed_dim=6, no multiple of encoder_sizes.num_heads=4",
        ),
        (
            "t5gemma",
            {"attention": AttentionConfig(scaled=True, windows=(3, 4))},
            r"T5GemmaForConditionalGeneration, does not have attention.windows=\(3, 4\) .only one width",
        ),
        (
            "roberta-masked_lm",
            {"mlp": PlainMLP(activation="gelu_tanh", bias=True)},
            r"BertForMaskedLM, does not have positions=LearnedPositions\(offset=3\)",
        ),
        (
            "modernbert",
            {"attention": AttentionConfig(scaled=True, windows=(None, 3, 4))},
            r"ModernBertForMaskedLM, does not have attention.windows=\(None, 3, 4\) .only one width",
        ),
        (
            "modernbert",
            {"head": "sequence_classification"},
            "head='sequence_classification' .only 'hidden' or 'masked_lm'",
        ),
        (
            "modernbert",
            {"head": "token_classification", "label_transform": False},
            "label_transform=False .only True",
        ),
        ("modernbert", {"first_norm": True}, "first_norm=True .only False"),
        (
            "mistral",
            {"attention": AttentionConfig(scaled=True, windows=(4, None))},
            r"LlamaForCausalLM, does not have attention.windows=\(4, None\)",
        ),
        ("bert-masked_lm", {"norm_placement": "pre"}, "BertForMaskedLM, does not have norm_placement='pre'"),
        ("bert-masked_lm", {"num_token_types": 0}, "num_token_types=0 .only 1 or more"),
    ],
)
def test_models_that_transformers_does_not_have(name, changes, message, tmp_path):
    config = dataclasses.replace(CONFIGS[name], **changes)
    with pytest.raises(UserError, match=message):
        export_folder({}, config, tmp_path / "out")
    assert fits(config) is not None
    assert fits(CONFIGS[name]) is None
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "gpt2",
            {"activation_function": "silu"},
            "activation_function='silu' is not supported; .* 'gelu_new'",
        ),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
        ("gpt2", {"architectures": ["GPT2ForSequenceClassification"]}, "architectures=.*'GPT2LMHeadModel'"),
        ("gpt2", {"tie_word_embeddings": "yes"}, "tie_word_embeddings='yes' must be true or false"),
        ("opt", {"enable_bias": False}, "enable_bias=False is not supported; allowed: True"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}},
            "rope_type='yarn' is not supported; allowed: 'default', 'linear', 'llama3'",
        ),
        (
            "llama",
            {"rope_parameters": None, "rope_scaling": {"type": "dynamic"}},
            "scaling.type='dynamic' is n",
        ),
        ("llama", {"rope_parameters": {"rope_type": "linear"}}, "factor=None must be a number"),
        ("llama", {"rope_parameters": [1]}, r"rope_parameters=\[1\] must be an object"),
        ("mistral", {"sliding_window": 0}, "sliding_window=0 must be 1 or more"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window=True is not supported; allowed: False"),
        ("qwen3", {"attention_bias": True}, "attention_bias=True is not supported"),
        ("llama", {"attention_bias": True}, "attention_bias=True is not supported"),
        ("t5gemma", {"pad_token_id": 3}, "pad_token_id=3 is not supported"),
        ("t5gemma", {"decoder": {"hidden_activation": "silu"}}, "decoder.hidden_activation='silu' is not"),
        ("t5gemma", {"encoder": {"attention_bias": True}}, "encoder.attention_bias=True is not supported"),
        (
            "t5gemma",
            {"encoder": {"rope_parameters": {"rope_type": "yarn"}}},
            "encoder.rope_parameters.rope_type='yarn' is not supported; allowed: 'default'",
        ),
        ("t5gemma", {"encoder": {"rms_norm_eps": 0.5}}, "encoder.rms_norm_eps=0.5 and decoder.* differ"),
        ("t5gemma", {"encoder": {"sliding_window": 5}}, "do not follow one pattern"),
        ("t5gemma", {"decoder": {"layer_types": ["chunked_attention"] * 2}}, "layer_types=.*'chunked"),
        (
            "bert-pooled",
            {"position_embedding_type": "relative_key"},
            "position_embedding_type='relative_key'",
        ),
        ("bert-pooled", {"is_decoder": True}, "is_decoder=True"),
        (
            "bert-pooled",
            {"architectures": ["BertForQuestionAnswering"]},
            "neither a classifier nor qa_outputs",
        ),
        ("bert-masked_lm", {"tie_word_embeddings": False}, "tie_word_embeddings=False is not supported"),
        (
            "roberta-masked_lm",
            {"hidden_act": "gelu_new"},
            "hidden_act='gelu_new' is not supported; allowed: 'gelu'",
        ),
        ("roberta-hidden", {"max_position_embeddings": 3}, "max_position_embeddings=3 must be 4 or more"),
        (
            "roberta-sequence_classification",
            {"problem_type": "regression"},
            "problem_type='regression' is not supported: .*AutoModel",
        ),
        (
            "modernbert-hidden",
            {"architectures": ["ModernBertForSequenceClassification"]},
            r"ModernBertForSequenceClassification.*; those that classify texts .* AutoModel\.from_pretrained",
        ),
        ("modernbert", {"decoder_bias": False}, "decoder_bias=False is not supported"),
        ("modernbert", {"classifier_activation": "silu"}, "classifier_activation='silu' is not supported"),
        ("modernbert", {"tie_word_embeddings": False}, "tie_word_embeddings=False is not supported"),
        ("modernbert", {"layer_types": ["full_attention"]}, "layer_types=.* must be a list of num_hidden_l"),
        (
            "modernbert",
            {"layer_types": ["full_attention"] * 5 + ["chunked_attention"]},
            "layer_types='chunked_attention' is not supported",
        ),
        (
            "modernbert",
            {"num_hidden_layers": 10**9, "global_attn_every_n_layers": 10**9},
            "global_attn_every_n_layers=1000000000 must be 1000 or less",
        ),
        (
            "modernbert",
            {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}},
            "rope_type='yarn', which changes",
        ),
        (
            "modernbert",
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            "rope_type='linear', which changes",
        ),
        ("gpt2", {"model_type": "mamba"}, "model_type='mamba' is not supported; allowed: 't5', .* 'llama'"),
    ],
)
def test_unsupported_values_are_refused_by_key(name, changes, message, tmp_path):
    exported(name, tmp_path / "out")
    change_json(tmp_path / "out", **changes)
    with pytest.raises(UserError, match=message):
        import_folder(tmp_path / "out")
