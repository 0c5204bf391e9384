"""Exports of every family, read by another version of transformers in an environment of its own.

transformers 4 cannot live beside transformers 5, with which the tests run. So this runs twice: once here, to
write exports with the logits and the greedy output that they should give, and tokenizers of every kind with
the ids of the texts of tests/parity/test_tokenizer_law.py; and once there, to compare.

    python benchmarks/transformers4_reader.py write exports
    python -m venv reader
    reader/bin/pip install 'transformers<5' torch==2.13.0 sentencepiece safetensors protobuf
    reader/bin/python benchmarks/transformers4_reader.py read exports
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

LINES = Path(__file__).parents[1] / "tests" / "parity" / "real_lines.txt"
NUM_TEXTS, MAX_DECODE_LENGTH, TOLERANCE = 24, 16, 1e-4


def write(folder: Path) -> None:
    """Write an export a family, each with what t5lite computes in expected.npz."""
    from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary

    lines = LINES.read_text(encoding="utf-8").splitlines()
    folder.mkdir(parents=True, exist_ok=True)
    train_vocabulary(lines[::2], folder / "spiece.model", size=400, character_coverage=0.999)
    vocabulary = SentencePieceVocabulary(folder / "spiece.model", extra_ids=20)
    for name, config in configs(vocabulary.size).items():
        write_one(folder / name, config, vocabulary, lines[:NUM_TEXTS])
        print(f"{folder / name}: written")
    write_tokenizers(folder / "tokenizers")


def write_tokenizers(folder: Path) -> None:
    """Write a tokenizer of every kind and architecture, each with texts and their ids in expected.json."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.exported_tokenizers import export_tokenizer
    from tests.parity import test_tokenizer_law as law

    made: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, architecture in law.CASES:
            if name not in made:
                made[name] = law.make_vocabulary(name, Path(scratch) / name)
            path = export_tokenizer(made[name], folder / f"{name}-{architecture}", architecture)
            texts = law.make_texts(0)
            if law.finds_special_tokens(made[name], architecture):
                spelled = [token["content"] for token in added_tokens(path) if token["special"]]
                texts = [text for text in texts if not any(token in text for token in spelled)]
            expected = [[text, law.expected_ids(made[name], architecture, text)] for text in texts]
            (path / "expected.json").write_text(json.dumps(expected))
    print(f"{folder}: {len(law.CASES)} tokenizers")


def added_tokens(path: Path) -> list[dict[str, Any]]:
    """Return the added tokens of a folder's tokenizer.json."""
    return json.loads((path / "tokenizer.json").read_text())["added_tokens"]


def configs(vocab_size: int) -> dict[str, Any]:
    """Return a small model of each family."""
    from t5lite.models.config import (
        AttentionConfig,
        DecoderOnlyConfig,
        EncoderDecoderConfig,
        EncoderOnlyConfig,
        LayerNorm,
        LearnedPositions,
        PlainMLP,
        RelativePositions,
    )

    shape: dict[str, Any] = {"vocab_size": vocab_size, "embed_dim": 32, "mlp_dim": 48, "head_dim": 8}
    t5 = {**shape, "num_heads": 3, "num_encoder_layers": 2, "num_decoder_layers": 2}
    gpt = {
        **shape,
        "num_heads": 4,
        "num_layers": 2,
        "positions": LearnedPositions(),
        "max_length": 128,
        "norm": LayerNorm(epsilon=1e-5),
        "attention": AttentionConfig(scaled=True, biases="all"),
        "tie_embeddings": True,
        "logit_scale": 1.0,
    }
    gelu, relu = (PlainMLP(activation=name, bias=True) for name in ("gelu_tanh", "relu"))
    opt = {**gpt, "positions": LearnedPositions(offset=2)}
    return {
        "t5_1_0": EncoderDecoderConfig(**t5, mlp=PlainMLP(activation="relu"), tie_embeddings=True),
        "t5_1_1": EncoderDecoderConfig(**t5),
        "umt5": EncoderDecoderConfig(**t5, positions=RelativePositions(per_layer=True)),
        "bert": EncoderOnlyConfig(**shape, num_heads=4, num_layers=2, head="pretraining"),
        "gpt2": DecoderOnlyConfig(**gpt, mlp=gelu),
        "opt": DecoderOnlyConfig(**opt, mlp=relu),
        "llama": DecoderOnlyConfig(**shape, num_heads=4, num_kv_heads=2, num_layers=2),
    }


def write_one(folder: Path, config: Any, vocabulary: Any, texts: list[str]) -> None:
    """Export one model; the tokenizer goes with an encoder-decoder, whose vocabulary it is."""
    import jax

    from t5lite.decoding import decoding_programs
    from t5lite.interop.huggingface import export_folder
    from t5lite.models.functional import build

    model, rng = build(config), np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: np.array(x + 0.1 * rng.standard_normal(x.shape), x.dtype),
        jax.jit(model.init)(jax.random.key(0)),
    )
    t5 = config.architecture == "encoder_decoder"
    export_folder(params, config, folder, vocabulary=vocabulary if t5 else None, overwrite=True)
    rows = [[*vocabulary.encode(text).tolist()[:40], vocabulary.eos_id] for text in texts]
    tokens, mask = np.zeros((2, len(rows), max(map(len, rows))), np.int32)
    for i, row in enumerate(rows):
        at = slice(-len(row), None) if config.architecture == "decoder_only" else slice(len(row))
        tokens[i, at], mask[i, at] = row, 1
    stack = "decoder" if config.architecture == "decoder_only" else "encoder"
    batch = {f"{stack}_input_tokens": tokens, f"{stack}_segment_ids": mask}
    expected: dict[str, Any] = {"tokens": tokens, "mask": mask}
    programs = decoding_programs(config, max_decode_length=MAX_DECODE_LENGTH, eos_id=None)
    if programs:
        run = jax.jit(lambda params, batch: programs["greedy"].run(model.bind(params), batch))
        expected["greedy"] = run(params, batch)["tokens"]
    if t5:
        expected["decoder_tokens"] = rng.integers(2, config.vocab_size, (len(rows), 9)).astype(np.int32)
        batch["decoder_input_tokens"] = expected["decoder_tokens"]
        batch["decoder_segment_ids"] = np.ones_like(expected["decoder_tokens"])
    outputs = jax.device_get(jax.jit(lambda params, batch: model.bind(params)(batch))(params, batch))
    if isinstance(outputs, dict):  # BERT's two heads
        expected |= {"logits": outputs["tokens"], "sequence": outputs["sequence"]}
    else:
        expected["logits"] = outputs
    np.savez(folder / "expected.npz", **expected)


def read(folder: Path) -> int:
    """Compare every export with transformers; return how many differ."""
    import torch
    import transformers

    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    failures = 0
    for path in sorted(each.parent for each in folder.glob("*/expected.npz")):
        expected = dict(np.load(path / "expected.npz"))
        line, good = read_one(path, expected)
        print(f"{path.name:<8} {line}{'' if good else '   DIFFERENT'}")
        failures += not good
    return failures + read_tokenizers(folder / "tokenizers")


def read_tokenizers(folder: Path) -> int:
    """Compare the ids of every tokenizer; return how many have others."""
    from transformers import AutoTokenizer

    failures = 0
    for path in sorted(each.parent for each in folder.glob("*/expected.json")):
        expected = json.loads((path / "expected.json").read_text())
        tokenizer = AutoTokenizer.from_pretrained(path)
        equal = sum(tokenizer(text)["input_ids"] == ids for text, ids in expected)
        different = "" if equal == len(expected) else "   DIFFERENT"
        print(f"{path.name:<38} {type(tokenizer).__name__}: ids equal {equal} of {len(expected)}{different}")
        failures += equal != len(expected)
    return failures


def read_one(path: Path, expected: dict[str, np.ndarray]) -> tuple[str, bool]:
    """Return one line of the comparison, and whether all is as it should be."""
    import torch
    import transformers

    architecture = transformers.AutoConfig.from_pretrained(path).architectures[0]
    model = getattr(transformers, architecture).from_pretrained(path).eval()
    tokens, mask = (torch.from_numpy(expected[name]).long() for name in ("tokens", "mask"))
    inputs = {"input_ids": tokens, "attention_mask": mask}
    real = expected["mask"][:, :, None] == 1
    if "decoder_tokens" in expected:
        inputs["decoder_input_ids"] = torch.from_numpy(expected["decoder_tokens"]).long()
        real = np.ones(1, bool)
    elif "greedy" in expected and path.name != "opt":
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        outputs = model(**inputs)
    logits = outputs.prediction_logits if "sequence" in expected else outputs.logits
    error = np.abs(np.where(real, logits.numpy() - expected["logits"], 0)).max()
    if "sequence" in expected:
        error = max(error, np.abs(outputs.seq_relationship_logits.numpy() - expected["sequence"]).max())
    parts, good = [f"{architecture:<30} logits differ by {error:.1e}"], error < TOLERANCE
    if "greedy" in expected:
        steps = {"min_new_tokens": MAX_DECODE_LENGTH, "max_new_tokens": MAX_DECODE_LENGTH}
        model.generation_config.eos_token_id = None
        with torch.no_grad():
            whole = model.generate(
                input_ids=tokens, attention_mask=mask, do_sample=False, num_beams=1, pad_token_id=0, **steps
            )
        same = (whole[:, -MAX_DECODE_LENGTH:].numpy() == expected["greedy"]).all(1).sum()
        parts.append(f"greedy equal {same} of {len(tokens)}")
        good &= same == len(tokens)
    if (path / "tokenizer_config.json").is_file():
        equal = tokenizer_equal(path, expected)
        parts.append(f"tokenizer equal {equal} of {len(tokens)}")
        good &= equal == len(tokens)
    return ", ".join(parts), good


def tokenizer_equal(path: Path, expected: dict[str, np.ndarray]) -> int:
    """Return for how many texts AutoTokenizer gives t5lite's ids."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    texts = LINES.read_text(encoding="utf-8").splitlines()[:NUM_TEXTS]
    equal = 0
    for text, row, mask in zip(texts, expected["tokens"], expected["mask"], strict=True):
        ids, ours = tokenizer(text)["input_ids"], row[mask == 1].tolist()
        equal += ids[:40] == ours[:40] if len(ids) > 41 else ids == ours
    return equal


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "read"):
        sys.exit(__doc__)
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    else:
        sys.exit(read(Path(sys.argv[2])))
