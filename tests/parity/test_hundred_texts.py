"""What models of each family write for a hundred real texts: as transformers has it, token for token.

Tokenizers are trained, weights random, with a greater logit for EOS: texts of every length are written.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import torch
import transformers

from t5lite.data.vocabulary import open_vocabulary
from t5lite.decoding import Beam, DecodingConfig, DecodingMode, Greedy, Written, decoding_mode
from t5lite.interop.huggingface import import_folder
from t5lite.models.functional import build
from tests.small_tokenizers import write_bpe, write_gemma, write_llama3, write_qwen, write_t5

pytestmark = pytest.mark.slow

LINES = (Path(__file__).parent / "real_lines.txt").read_text(encoding="utf-8").splitlines()
ODD = ["a", "ÀÉ 12345,\n\n CAN'T  Straße 日本 🤖", "🤖", "日本語", "e\u0301 é ﬁ ½", " two  spaces ", "?!"]
WORDS = [line.split()[0] for line in LINES[200:220]]
LONG = [" ".join(LINES[first : first + 8]) for first in range(220, 284, 8)]
TEXTS = [*ODD, *WORDS, *LONG, *LINES][:100]
READ, NEW, BEAMS = 60, 12, 4
"""Tokens that are read and written at most, and beams."""
SHARE = 25
"""Texts of a batch of transformers; here all are of one."""

_T5 = {
    "d_model": 32,
    "d_ff": 48,
    "d_kv": 8,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "decoder_start_token_id": 0,
    "initializer_factor": 0.2,
}
_LLAMA = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
}
_SCALED = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
_SIDE = {**_LLAMA, "query_pre_attn_scalar": 8, "sliding_window": 6, "vocab_size": 500}
# The longest text read and the longest one written need every position: the last token is not read.
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": READ + NEW - 1}


class Family(NamedTuple):
    """A model of transformers and the tokenizer of its kind."""

    write_tokenizer: Callable[[Path, Iterable[str]], Path]
    class_name: str
    fields: dict[str, Any]
    spread: float = 0.2
    """Of what is added to its weights: so much that texts differ by what is read."""


FAMILIES = {
    "t5-1.0": Family(write_t5, "T5ForConditionalGeneration", {**_T5, "feed_forward_proj": "relu"}, 0.6),
    "t5-1.1": Family(
        write_t5,
        "T5ForConditionalGeneration",
        {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        0.3,
    ),
    "mt5": Family(write_t5, "MT5ForConditionalGeneration", _T5, 0.3),
    "t5gemma": Family(
        write_gemma,
        "T5GemmaForConditionalGeneration",
        {"encoder": _SIDE, "decoder": _SIDE, "vocab_size": 500},
    ),
    "gpt2": Family(write_bpe, "GPT2LMHeadModel", _GPT2),
    "llama-3.1": Family(write_llama3, "LlamaForCausalLM", {**_LLAMA, "rope_parameters": _SCALED}),
    "mistral": Family(write_llama3, "MistralForCausalLM", {**_LLAMA, "sliding_window": 6}),
    "qwen2": Family(write_qwen, "Qwen2ForCausalLM", _LLAMA),
    "qwen3": Family(write_qwen, "Qwen3ForCausalLM", _LLAMA),
}


class Theirs:
    """The model and the tokenizer as transformers loads them from a folder that is written here."""

    def __init__(self, family: Family, folder: Path):
        family.write_tokenizer(folder, LINES)
        size = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.eos_id = self.tokenizer.eos_token_id
        ends = {"bos_token_id": self.tokenizer.bos_token_id, "eos_token_id": self.eos_id}
        kind = getattr(transformers, family.class_name)
        torch.manual_seed(0)
        fields = {"vocab_size": size, **ends, **family.fields}
        config = kind.config_class(**fields, attn_implementation="eager")
        self.model = kind(config).eval()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(family.spread * torch.randn_like(parameter))
            self.model.get_output_embeddings().weight[self.eos_id] *= 4
        self.model.save_pretrained(folder)
        self.answers = config.is_encoder_decoder
        side = "right" if self.answers else "left"
        self.tokenizer.padding_side = self.tokenizer.truncation_side = side
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token

    def read(self, texts: list[str]) -> dict[str, torch.Tensor]:
        cut = {"padding": True, "truncation": True, "max_length": READ}
        return self.tokenizer(texts, return_tensors="pt", return_token_type_ids=False, **cut)

    def write(self, texts: list[str], num_beams: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return all beams' tokens, 0 behind EOS, and scores."""
        inputs = self.read(texts)
        found = self.model.generate(
            **inputs,
            max_new_tokens=NEW,
            do_sample=False,
            num_beams=num_beams,
            num_return_sequences=num_beams,
            eos_token_id=self.eos_id,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
        )
        tokens = found.sequences[:, 1 if self.answers else inputs["input_ids"].shape[1] :].numpy()
        tokens = np.pad(tokens, ((0, 0), (0, NEW - tokens.shape[1])))
        ends = tokens == self.eos_id
        # Its beam search takes a padding of 0 for none, and fills up with EOS.
        tokens = np.where(np.cumsum(ends, axis=1) - ends > 0, 0, tokens)
        return tokens, found.sequences_scores.numpy() if num_beams > 1 else None


def what_is_written_here(
    folder: Path, strategies: list[Any]
) -> tuple[DecodingMode, list[np.ndarray], list[Written]]:
    """Return what is read of each text, and what each strategy writes for all of them at once."""
    (config, params), vocabulary = import_folder(folder), open_vocabulary(folder)
    model, sizes = build(config), {"encoder_length": READ, "max_decode_length": NEW}
    modes = [
        decoding_mode(config)(config, vocabulary, **sizes, decoding=DecodingConfig(strategy=strategy))
        for strategy in strategies
    ]
    rows = [modes[0].row(text).ids for text in TEXTS]

    @jax.jit
    def run(params: Any, *arrays: jax.Array) -> list[Written]:
        bound = model.bind_for_decoding(params)
        return [mode.run(bound, *arrays) for mode in modes]

    return modes[0], rows, jax.device_get(run(params, *modes[0].arrays(rows, READ), np.arange(len(TEXTS))))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_written_for_a_hundred_texts_is_the_same(name, tmp_path):
    theirs = Theirs(FAMILIES[name], tmp_path)
    strategies = [Greedy(), Beam(num_beams=1), Beam(num_beams=BEAMS, num_return_sequences=BEAMS)]
    mode, rows, (greedy, one_beam, beams) = what_is_written_here(tmp_path, strategies)
    lengths = [len(row) for row in rows]
    assert min(lengths) <= 3
    assert lengths.count(READ) > 5
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(TEXTS), SHARE):
        numbers = order[start : start + SHARE]
        texts = [TEXTS[number] for number in numbers]
        inputs = theirs.read(texts)
        for number, ids, mask in zip(numbers, inputs["input_ids"], inputs["attention_mask"], strict=True):
            assert rows[number].tolist() == ids[mask == 1].tolist()
        expected, _ = theirs.write(texts, 1)
        np.testing.assert_array_equal(greedy.tokens_RL[numbers], expected)
        for tokens, text in zip(expected, texts, strict=True):
            ids = mode.ended(tokens, None)[0]
            ids = ids[~np.isin(ids, mode.vocabulary.sentinel_ids)]  # which are shown here
            expected_text = theirs.tokenizer.decode(ids, skip_special_tokens=True)
            assert mode.vocabulary.decode(ids) == expected_text, text
        expected, scores = theirs.write(texts, BEAMS)
        places = (BEAMS * numbers[:, None] + np.arange(BEAMS)).ravel()
        np.testing.assert_array_equal(beams.tokens_RL[places], expected)
        np.testing.assert_allclose(beams.scores_R[places], scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(one_beam.tokens_RL, greedy.tokens_RL)
    for tokens_BL in (greedy.tokens_RL, beams.tokens_RL[::BEAMS]):
        assert len({row.tobytes() for row in tokens_BL}) > 20
        assert 0 < np.any(tokens_BL == theirs.eos_id, axis=1).sum() < len(TEXTS)
