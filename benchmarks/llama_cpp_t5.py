"""Greedy output of a T5 in GGUF under llama.cpp, against what t5lite wrote beside the export.

python benchmarks/transformers4_reader.py write exports
python llama.cpp/convert_hf_to_gguf.py exports/t5_1_0 --outfile t5_1_0.gguf --outtype f32
pip install llama-cpp-python
python benchmarks/llama_cpp_t5.py exports/t5_1_0 t5_1_0.gguf
"""

import ctypes
import sys
from pathlib import Path
from typing import Any

import llama_cpp as llama
import numpy as np

_SILENT = llama.llama_log_callback(lambda *_: None)


def make_batch(tokens: list[int], start: int) -> Any:
    """Return one sequence's tokens from position ``start``, logits wanted."""
    batch = llama.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.logits[i] = token, start + i, 1
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    return batch


def decode(model: Any, source: list[int], length: int) -> list[int]:
    """Return the most probable tokens for an input."""
    settings = llama.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = 512
    settings.n_threads = settings.n_threads_batch = 1
    settings.flash_attn_type = settings.type_k = settings.type_v = 0  # float32 keys and values
    context = llama.llama_init_from_model(model, settings)
    size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    assert llama.llama_encode(context, make_batch(source, 0)) == 0
    tokens = [llama.llama_model_decoder_start_token(model)]
    for step in range(length):
        assert llama.llama_decode(context, make_batch(tokens[-1:], step)) == 0
        logits = np.ctypeslib.as_array(llama.llama_get_logits(context), (size,))
        tokens.append(int(logits.argmax()))
    llama.llama_free(context)
    return tokens[1:]


def main() -> None:
    """Compare the export and the GGUF that the command line names."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    expected = dict(np.load(Path(sys.argv[1]) / "expected.npz"))
    llama.llama_log_set(_SILENT, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(sys.argv[2].encode(), llama.llama_model_default_params())
    equal = 0
    for row, mask, ours in zip(expected["tokens"], expected["mask"], expected["greedy"], strict=True):
        equal += decode(model, row[mask == 1].tolist(), len(ours)) == ours.tolist()
    print(f"llama-cpp-python {llama.__version__}: greedy equal {equal} of {len(expected['tokens'])}")


if __name__ == "__main__":
    main()
