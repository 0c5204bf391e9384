"""A folder of transformers, tokenizer included: a text goes in, and what comes out is what it makes of it.

What is written is in test_hundred_texts.py.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from t5lite.data.vocabulary import open_vocabulary
from t5lite.evaluation.text_classification import classification_rows
from t5lite.interop.huggingface import import_folder
from t5lite.models.functional import build
from tests.generated_texts import generate_texts
from tests.small_tokenizers import (
    write_gemma,
    write_llama3,
    write_modernbert,
    write_roberta,
    write_t5,
)

LINES = (Path(__file__).parent / "real_lines.txt").read_text(encoding="utf-8").splitlines()
TEXTS = [LINES[0], "ÀÉ 12345,\n\n CAN'T  Straße 日本 🤖", "a"]
_DECODER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "intermediate_size": 20,
}
_ENCODER = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 200,
}
_MODERNBERT = {
    **_ENCODER,
    **dict.fromkeys(("bos_token_id", "cls_token_id"), 3),
    **dict.fromkeys(("eos_token_id", "sep_token_id"), 4),
    "pad_token_id": 1,
    "local_attention": 6,
}
_T5_ENCODER = {
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 20,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": False,
}
_SIDE = {**_DECODER, "query_pre_attn_scalar": 4, "sliding_window": 5, "vocab_size": 500}
CASES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "T5GemmaForConditionalGeneration": (
        write_gemma,
        "T5GemmaConfig",
        {"encoder": _SIDE, "decoder": _SIDE, "vocab_size": 500},
    ),
    "LlamaForCausalLM": (write_llama3, "LlamaConfig", {**_DECODER, "bos_token_id": 0, "eos_token_id": 2}),
    "T5EncoderModel": (write_t5, "T5Config", _T5_ENCODER),
    "RobertaForMaskedLM": (write_roberta, "RobertaConfig", {**_ENCODER, "type_vocab_size": 1}),
    "ModernBertForMaskedLM": (write_modernbert, "ModernBertConfig", _MODERNBERT),
    "RobertaForSequenceClassification": (
        write_roberta,
        "RobertaConfig",
        {**_ENCODER, "type_vocab_size": 1, "num_labels": 3},
    ),
}
FILL = ["RobertaForMaskedLM", "ModernBertForMaskedLM"]


def make_folder(class_name: str, folder: Path) -> tuple[Any, Any]:
    """Random weights under a trained tokenizer; return both as transformers loads them."""
    write, config_name, fields = CASES[class_name]
    write(folder, LINES)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    size = len(vocabulary["model"]["vocab"]) + len(vocabulary["added_tokens"])
    config = getattr(transformers, config_name)(**{"vocab_size": size, **fields}, attn_implementation="eager")
    torch.manual_seed(0)
    model = getattr(transformers, class_name)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.eval().save_pretrained(folder)
    return model, transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("class_name", FILL)
def test_the_same_token_is_filled_in(class_name, tmp_path):
    """Also by [MASK], whatever the tokenizer calls it, and with the space before it that it takes."""
    make_folder(class_name, tmp_path)
    config, params = import_folder(tmp_path)
    vocabulary = open_vocabulary(tmp_path)
    fill = transformers.pipeline("fill-mask", model=str(tmp_path), device="cpu")
    texts = [f"{text[:30]} [MASK] of the" for text in TEXTS]
    sizes = {"encoder_length": 80, "max_decode_length": 1, "batch_size": 3}
    filled = generate_texts(build(config), params, vocabulary, texts, **sizes)
    for text, ours in zip(texts, filled, strict=True):
        named = text.replace("[MASK]", fill.tokenizer.mask_token)
        ids = fill.tokenizer(named, add_special_tokens=False)["input_ids"]
        best = [fill(named)[0]["token"] if token == fill.tokenizer.mask_token_id else token for token in ids]
        assert ours == vocabulary.decode(best)


def test_texts_are_classified_the_same(tmp_path):
    make_folder("RobertaForSequenceClassification", tmp_path)
    config, params = import_folder(tmp_path)
    classify = transformers.pipeline("text-classification", model=str(tmp_path), device="cpu", top_k=None)
    model = build(config)
    rows = classification_rows(config, open_vocabulary(tmp_path), TEXTS, encoder_length=80)
    for text, row in zip(TEXTS, rows, strict=True):
        logits = model.bind(params)({"encoder_input_tokens": row.ids[None]})["sequence"][0]
        scores = {each["label"]: each["score"] for each in classify([text], function_to_apply="none")[0]}
        theirs = [scores[f"LABEL_{number}"] for number in range(3)]
        np.testing.assert_allclose(logits, theirs, rtol=0, atol=1e-4)
