"""Exported programs compute what the model does, for any batch, where only JAX and safetensors are."""

import json
import os
import shutil
import subprocess
import sys
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.decoding import decoding_programs
from t5lite.interop.departure import Cast
from t5lite.interop.stablehlo import ProgramSizes, export_folder, exporting, load_exported
from t5lite.models.config import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    LearnedPositions,
    ModelConfig,
)
from t5lite.models.functional import FunctionalModel, build

pytestmark = pytest.mark.slow

SHAPE: dict[str, Any] = {"vocab_size": 400, "embed_dim": 16, "mlp_dim": 24, "head_dim": 4, "num_heads": 4}
CONFIGS: dict[str, ModelConfig] = {
    "t5": EncoderDecoderConfig(**SHAPE, num_encoder_layers=2, num_decoder_layers=1),
    "bert": EncoderOnlyConfig(**SHAPE, num_layers=2, max_length=12, head="pretraining"),
    "gpt2": DecoderOnlyConfig(**SHAPE, num_layers=2, positions=LearnedPositions(), max_length=12),
    "llama": DecoderOnlyConfig(**SHAPE, num_layers=2, num_kv_heads=2),
}
JAX_ALONE = """
import json, sys
for name in ("t5lite", "flax", "optax", "orbax", "sentencepiece"):
    sys.modules[name] = None  # importing it raises ImportError
import jax, numpy as np
from jax import export
from safetensors.flax import load_file

folder, inputs, output = sys.argv[1:]
description = json.load(open(f"{folder}/programs.json"))
params = load_file(f"{folder}/{description['weights']['file']}")
forward = export.deserialize(open(f"{folder}/forward.stablehlo", "rb").read())
np.savez(output, **forward.call(params, dict(np.load(inputs))))
"""


def make_params(model: FunctionalModel) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: 0.3 * rng.standard_normal(leaf.shape).astype(leaf.dtype), model.abstract_params
    )


def make_batch(config: ModelConfig, *, rows: int, length: int) -> dict[str, np.ndarray]:
    """Rows of all lengths up to ``length``, with padding behind."""
    rng = np.random.default_rng(rows)
    mask = (np.arange(length)[None, :] <= np.arange(rows)[:, None] % length).astype(np.int32)
    batch = {}
    for stack in ("encoder", "decoder"):
        if stack in config.architecture or config.architecture == "encoder_decoder":
            tokens = rng.integers(3, config.vocab_size, mask.shape).astype(np.int32)
            batch |= {f"{stack}_input_tokens": tokens * mask, f"{stack}_segment_ids": mask}
    if config.architecture == "encoder_only":
        batch["encoder_token_types"] = np.where(np.arange(length)[None, :] < length // 2, 0, mask)
    return batch


def direct(config: ModelConfig, params: Any, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    model = build(config)
    outputs = jax.jit(lambda params, batch: model.bind(params)(batch))(params, batch)
    return jax.device_get(outputs if isinstance(outputs, dict) else {"logits": outputs})


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, rtol=0, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module", params=["t5", "bert", "gpt2"])
def exported(request, tmp_path_factory) -> tuple[ModelConfig, Any, Any]:
    config = CONFIGS[request.param]
    params, folder = make_params(build(config)), tmp_path_factory.mktemp("programs") / request.param
    export_folder(params, config, folder, vocabulary=ByteVocabulary(extra_ids=10))
    return config, params, folder


@pytest.mark.slow
def test_a_process_with_jax_alone_computes_the_same(exported, tmp_path):
    config, params, folder = exported
    batch = make_batch(config, rows=3, length=9)
    np.savez(tmp_path / "inputs.npz", **batch)
    arguments = [str(folder), str(tmp_path / "inputs.npz"), str(tmp_path / "outputs.npz")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", JAX_ALONE, *arguments],
        env=environment | {"JAX_PLATFORMS": "cpu"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_equal(direct(config, params, batch), dict(np.load(tmp_path / "outputs.npz")))


def test_one_program_serves_every_batch_and_length(exported):
    config, params, folder = exported
    served = load_exported(folder)
    batch = make_batch(config, rows=5, length=12)
    assert_equal(direct(config, params, batch), served("forward", **batch))


def test_the_folder_describes_itself(exported):
    config, _, folder = exported
    description = json.loads((folder / "programs.json").read_text())
    forward = description["programs"]["forward"]
    assert description["platforms"] == ["cpu", "tpu", "cuda"]
    assert description["weights"]["num_params"] == build(config).num_params
    assert description["vocabulary"]["size"] == ByteVocabulary(extra_ids=10).size
    assert all((folder / name).is_file() for name in description["vocabulary"]["files"])
    assert set(forward["inputs"]) == set(make_batch(config, rows=1, length=1))
    for field, array in forward["inputs"].items():
        assert array == {"shape": ["batch", f"{field.partition('_')[0]}_length"], "dtype": "int32"}
    assert all(array["shape"][0] == "batch" for array in forward["outputs"].values())


def test_fixed_sizes_are_held_to(tmp_path):
    config = CONFIGS["gpt2"]
    params = make_params(build(config))
    export_folder(params, config, tmp_path / "out", sizes=ProgramSizes(batch_size=2, decoder_length=7))
    served = load_exported(tmp_path / "out")
    assert served.description["programs"]["forward"]["inputs"]["decoder_input_tokens"]["shape"] == [2, 7]
    batch = make_batch(config, rows=2, length=7)
    assert_equal(direct(config, params, batch), served("forward", **batch))
    with pytest.raises(ValueError, match="Shape mismatch"):
        served("forward", **make_batch(config, rows=3, length=7))


def test_half_precision_weights_are_half_the_size_nearly_the_same_and_cast_one_layer_at_a_time(tmp_path):
    config = CONFIGS["llama"]
    model = build(config)
    params, seen = make_params(model), []

    class Watched(Cast):
        def __call__(self, name: str, value: np.ndarray) -> np.ndarray:
            seen.append(value.size)
            return super().__call__(name, value)

    with mock.patch.object(exporting, "Cast", Watched):
        half = export_folder(params, config, tmp_path / "half", dtype="bfloat16")
    served = load_exported(tmp_path / "half")
    size = (tmp_path / "half" / served.description["weights"]["file"]).stat().st_size
    assert half.num_bytes == 2 * model.num_params <= size < 2 * model.num_params + 4096
    rounded = jax.tree.map(lambda x: np.asarray(jnp.asarray(x, jnp.bfloat16), np.float32), params)
    batch = make_batch(config, rows=2, length=5)
    assert_equal(direct(config, rounded, batch), served("forward", **batch))
    assert sum(seen) == model.num_params
    table_and_layer = {config.vocab_size * config.embed_dim, config.embed_dim * config.mlp_dim}
    assert max(seen) == max(table_and_layer)
    assert config.num_layers * config.embed_dim * config.mlp_dim not in seen


def test_float16_says_what_overflows(tmp_path):
    config = CONFIGS["gpt2"]
    params = make_params(build(config))
    params["decoder"]["final_norm"]["scale"] = np.full((16,), 1e6, np.float32)
    written = export_folder(params, config, tmp_path / "out", dtype="float16")
    assert written.overflows == {"decoder/final_norm/scale": 16}


def left_padded(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same rows with their padding in front."""
    counts = batch["decoder_segment_ids"].sum(1)
    length = batch["decoder_segment_ids"].shape[1]
    return {
        field: np.stack([np.roll(row, length - count) for row, count in zip(rows, counts, strict=True)])
        for field, rows in batch.items()
    }


@pytest.mark.parametrize("name", ["t5", "gpt2"])
def test_greedy_decoding_is_exported_beside(name, tmp_path):
    config, max_decode_length = CONFIGS[name], 4
    model = build(config)
    params = make_params(model)
    programs = decoding_programs(config, max_decode_length=max_decode_length, eos_id=1)
    export_folder(params, config, tmp_path / "out", programs=programs)
    served = load_exported(tmp_path / "out")
    batch = make_batch(config, rows=3, length=7)
    if name == "gpt2":
        batch = left_padded(batch)
    inputs = {field: batch[field] for field in programs["greedy"].fields}
    direct_tokens = jax.jit(lambda p, b: programs["greedy"].run(model.bind(p), b))(params, inputs)["tokens"]
    got = served("greedy", **inputs)["tokens"]
    assert got.shape == (3, max_decode_length)
    np.testing.assert_array_equal(got, direct_tokens)
    if name == "gpt2":  # 12 positions: a prompt of 10 leaves none for the fourth token
        with pytest.raises(ConfigError, match="decoder_length=10 is more than the 9 of greedy"):
            served("greedy", **make_batch(config, rows=1, length=10))


def test_a_model_that_writes_nothing_is_exported_however_few_its_positions_are():
    (bert,) = (config for config in CONFIGS.values() if not config.writes)
    assert bert.position_limit is not None
    assert decoding_programs(bert, max_decode_length=bert.position_limit + 1, eos_id=1) == {}


def test_what_cannot_be_exported_or_called_is_said(tmp_path, exported):
    config, params, folder = exported
    with pytest.raises(ConfigError, match="batch_size=0 must be 1 or more"):
        ProgramSizes(batch_size=0)
    if config.position_limit is not None:
        sizes = ProgramSizes(encoder_length=13, decoder_length=13)
        with pytest.raises(ConfigError, match="13 tokens is longer than the 12 rows"):
            export_folder(params, config, tmp_path / "long", sizes=sizes)
    served = load_exported(folder)
    with pytest.raises(ConfigError, match="unknown program 'forwards'"):
        served("forwards")
    with pytest.raises(ConfigError, match=r"forward takes .*_input_tokens"):
        served("forward", tokens=np.zeros((1, 1)))


def test_a_folder_that_is_none_is_refused(exported, tmp_path):
    with pytest.raises(CheckpointError, match=r"programs.json is missing; export the folder again"):
        load_exported(tmp_path)
    shutil.copytree(exported[-1], tmp_path / "out")
    (tmp_path / "out" / "forward.stablehlo").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match=r"forward.stablehlo is damaged"):
        load_exported(tmp_path / "out")
