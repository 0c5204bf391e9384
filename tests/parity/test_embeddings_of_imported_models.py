"""Vectors of texts are transformers' hidden states, pooled over the attention mask and normalised."""

import numpy as np
import pytest
import torch

from t5lite.data.vocabulary import open_vocabulary
from t5lite.decoding import framed_row
from t5lite.evaluation.text_embedding import TextEmbedder
from t5lite.interop.huggingface import import_folder
from t5lite.models.functional import build
from t5lite.runner.text_frames import text_frame
from tests.parity.test_texts_of_imported_models import LINES, TEXTS, make_folder

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("class_name", "pooling"),
    [
        ("RobertaForMaskedLM", "mean"),
        ("T5GemmaForConditionalGeneration", "mean"),
        ("LlamaForCausalLM", "last"),
        ("T5EncoderModel", "mean"),
    ],
)
def test_they_are_transformers_pooled(class_name, pooling, tmp_path):
    theirs, tokenizer = make_folder(class_name, tmp_path)
    encoder = theirs.get_encoder() if theirs.config.is_encoder_decoder else theirs.base_model
    texts = [*TEXTS, *LINES[1:4]]
    tokenizer.padding_side, tokenizer.pad_token = "right", tokenizer.pad_token or tokenizer.eos_token
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        hidden_BLD = encoder(inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
    mask_BL1 = inputs["attention_mask"][:, :, None]
    last_B = mask_BL1[:, :, 0].sum(dim=1) - 1
    expected_BD = {
        "mean": (hidden_BLD * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1),
        "last": hidden_BLD[torch.arange(len(texts)), last_B],
    }[pooling]
    expected_BD = torch.nn.functional.normalize(expected_BD, dim=1).numpy()

    config, params = import_folder(tmp_path)
    vocabulary = open_vocabulary(tmp_path)
    frame = text_frame(config, vocabulary, is_imported=True)
    rows = [framed_row(vocabulary.encode(text), frame, 200).ids for text in texts]
    embedder = TextEmbedder(build(config), pooling=pooling, normalises=True, batch_size=4)
    np.testing.assert_allclose(np.stack(list(embedder(params, rows))), expected_BD, atol=2e-5)
