"""Golden files of what the programs of listed models compute: parameters, first values, steps, generation.

Of presets as published, on shapes alone: nothing is compiled or run. After a change that is meant:

    python -m tests.golden_programs

writes them anew; the diff in the commit shows what the change did. How steps are divided among devices, and
what that sends, is ``tests.compile.golden``'s.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from t5lite.core.batch_fields import SIDES, Side
from t5lite.decoding.greedy import greedy, greedy_continuation
from t5lite.models.config import Execution, ModelConfig
from t5lite.models.functional import FunctionalModel, build
from t5lite.models.presets import preset
from t5lite.optim import AdafactorConfig, AdamWConfig, Constant, OptimizerConfig
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.partitioning.rules import is_logical_axes
from t5lite.planning.compiled.compile import BatchShape, abstract_batch
from t5lite.training.state import abstract_state
from t5lite.training.step import (
    StepConfig,
    compile_eval_step,
    compile_train_step,
    make_eval_step,
    make_train_step,
)
from tests.described_programs import described

DIRECTORY = Path(__file__).parent / "golden" / "programs"
JAX = "0.10"
"""The version that the files are of, as setup.py's extra ``test`` brings it."""
LENGTHS = {"encoder": 16, "decoder": 12}
ROWS = 8


class Case(NamedTuple):
    """A model, and how it is trained."""

    model: Callable[[], ModelConfig]
    optimizer: OptimizerConfig = AdafactorConfig()
    step: StepConfig = StepConfig()
    execution: Execution = Execution()


def _preset(name: str, **changes: Any) -> Callable[[], ModelConfig]:
    return lambda: dataclasses.replace(preset(name), **changes)


CASES: dict[str, Case] = {
    "t5-small": Case(_preset("t5-small")),
    "t5-1.1-small": Case(_preset("t5-1.1-small")),
    "t5-1.1-small-as-large-ones-are-trained": Case(
        _preset("t5-1.1-small", dropout_rate=0.1),
        AdamWConfig(),
        StepConfig(num_microbatches=2, max_gradient_norm=1.0),
        Execution(compute_dtype="bfloat16", remat="full"),
    ),
    "umt5-small": Case(_preset("umt5-small")),
    "transformer-base": Case(_preset("transformer-base"), AdamWConfig()),
    "bert-base": Case(_preset("bert-base", head="pretraining"), AdamWConfig()),
    "bert-base-classifier": Case(_preset("bert-base", head="sequence_classification"), AdamWConfig()),
    "gpt2": Case(_preset("gpt2"), AdamWConfig()),
    "gpt2-prefix": Case(_preset("gpt2", prefix_attention="bidirectional"), AdamWConfig()),
    "opt-350m": Case(_preset("opt-350m"), AdamWConfig()),
    "llama2-7b": Case(_preset("llama2-7b"), AdamWConfig()),
    "llama3-8b": Case(_preset("llama3-8b"), AdamWConfig()),
    "palm-8b": Case(_preset("palm-8b")),
}


def path(name: str) -> Path:
    return DIRECTORY / f"{name}.txt"


def text(name: str) -> str:
    """What a golden file holds."""
    case = CASES[name]
    model = build(case.model(), case.execution)
    lines = [name, "", "parameters", *_parameters(model)]
    for title, lowered in _programs(case, model):
        lines += ["", title, *(f"  {line}" for line in described(lowered))]
    return "\n".join([*lines, ""])


def _parameters(model: FunctionalModel) -> list[str]:
    leaves = jax.tree_util.tree_leaves_with_path(model.abstract_params)
    axes = jax.tree.leaves(model.logical_axes, is_leaf=is_logical_axes)
    return [
        f"  {jax.tree_util.keystr(key, simple=True, separator='/')} {leaf.dtype}{list(leaf.shape)} {names}"
        for (key, leaf), names in zip(leaves, axes, strict=True)
    ]


def _programs(case: Case, model: FunctionalModel) -> Iterator[tuple[str, Any]]:
    config = model.config
    # One device: every rule of sharding is in its programs too.
    partitioner = make_partitioner(PartitioningConfig(style="sequence_parallel"), jax.devices()[:1])
    optimizer = case.optimizer.build(Constant(value=1e-3).build(10), model.logical_axes)
    state = abstract_state(model, optimizer, partitioner)
    lengths: dict[Side, int] = {side: LENGTHS[side] if side in config.sides else 0 for side in SIDES}
    full = BatchShape(batch_size=ROWS, **vars(config.batch_spec(lengths)))
    spec = config.batch_spec(lengths, segment_ids=True, marks=config.marks)
    padded = BatchShape(batch_size=ROWS, **vars(spec))

    yield "first values", jax.jit(model.init).lower(jax.eval_shape(lambda: jax.random.key(0)))
    train_step = make_train_step(model, optimizer, case.step, seed=0)
    step = compile_train_step(train_step, model, optimizer, partitioner)
    yield "a step on padded rows", step.lower(state, abstract_batch(config, padded, partitioner))
    eval_step = make_eval_step(model, sentinel_ids=np.arange(3))
    compiled = compile_eval_step(eval_step, model, partitioner)
    yield (
        "an evaluation of full rows",
        compiled.lower(state.params, abstract_batch(config, full, partitioner)),
    )
    if config.writes:
        prompts_BL = jax.ShapeDtypeStruct((ROWS, LENGTHS[config.sides[0]]), np.int32)
        yield "generation", jax.jit(partial(_generate, model)).lower(model.abstract_params, prompts_BL)


def _generate(model: FunctionalModel, params: Any, prompts_BL: jax.Array) -> jax.Array:
    """Generate from prompts that are as long as their number in the batch says."""
    module = model.bind(params)
    lengths_B = jnp.arange(1, ROWS + 1)
    if model.config.cross_attends:
        is_token_BL = jnp.arange(prompts_BL.shape[1])[None] < lengths_B[:, None]
        ids_BL = is_token_BL.astype(jnp.int32)
        return greedy(module, prompts_BL, encoder_segment_ids_BM=ids_BL, max_decode_length=5)
    first_B = prompts_BL.shape[1] - lengths_B
    return greedy_continuation(module, prompts_BL, first_B=first_B, max_decode_length=5, eos_id=1)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    DIRECTORY.mkdir(exist_ok=True)
    for each in CASES:
        path(each).write_text(text(each), encoding="utf-8")
        print(path(each))
