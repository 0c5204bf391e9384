"""What a GPU's compiler is asked for where no GPU is: what people say goes before, and all of it is told."""

import dataclasses
import os

import jax
import pytest

from t5lite.models.config import DecoderOnlyConfig, Execution
from t5lite.models.functional import build
from t5lite.optim import AdamWConfig, Constant
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.planning.compiled import compile
from t5lite.planning.hardware.topology import parse_topology
from t5lite.training.config import StepConfig

TRITON = "xla_gpu_enable_triton_gemm"
MODULE = "ENTRY %main (a: f32[8]) -> f32[8] {\n  ROOT %a = f32[8] parameter(0)\n}\n"


@pytest.mark.parametrize(
    ("given", "environment", "added"),
    [
        ((("xla_gpu_other", "1"),), "", ((TRITON, "false"),)),
        (((TRITON, "true"),), "", ()),
        ((), f" --{TRITON}=true", ()),
    ],
)
def test_what_is_given_goes_before_what_is_asked_for_want_of_a_gpu(given, environment, added, monkeypatch):
    asked = []

    def compiled(lowered, notes, *, target, options):
        del lowered, target
        asked.append(options)
        for suffix, text in {"": MODULE, "-buffer-assignment": "", "-live-range": ""}.items():
            (notes / f"m.after_optimizations{suffix}.txt").write_text(text, encoding="utf-8")
        return None, None

    monkeypatch.setattr(compile, "compile_with_notes", compiled)
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", "") + environment)
    config = DecoderOnlyConfig(vocab_size=16, embed_dim=8, mlp_dim=8, head_dim=8, num_heads=1, num_layers=1)
    model = build(config, Execution())
    partitioner = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    step = compile.compile_step(
        model,
        AdamWConfig().build(Constant().build(1), model.logical_axes),
        dataclasses.replace(partitioner, compiler_options=given),
        parse_topology("h100:1x1"),
        compile.BatchShape(batch_size=1, decoder_length=8),
        StepConfig(),
    )
    assert asked == [added]
    assert step.compiler_options == given + added
