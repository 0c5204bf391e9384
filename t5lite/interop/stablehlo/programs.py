"""Functions of a model as programs: their inputs, their sizes, and lowering by ``jax.export``."""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from t5lite.core.errors import ConfigError
from t5lite.core.types import Batch
from t5lite.interop.trees import flatten, insert
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel
from t5lite.models.program import Program

MARK = "programs.json"
"""File by which a folder of programs is known."""
PLATFORMS = ("cpu", "tpu", "cuda")
"""What every program is lowered for."""


@dataclass(frozen=True, kw_only=True)
class ProgramSizes:
    """Sizes of the programs' inputs; None, the default, leaves a size open until the program is called."""

    batch_size: int | None = None
    """Rows of a batch; None leaves it open."""
    encoder_length: int | None = None
    """Tokens of an encoder's input; None leaves it open."""
    decoder_length: int | None = None
    """Tokens of a decoder's input: what forward scores, or a prompt; None leaves it open."""
    max_decode_length: int = 128
    """Tokens that greedy decoding generates at most, EOS included."""

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
          ConfigError: for a size below 1.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 1:
                raise ConfigError(f"{field.name}={value} must be 1 or more")


def forward_program(config: ModelConfig) -> Program:
    """Return the forward pass: ``logits`` of a language model, or the outputs of an encoder's head by name.

    Segment ids are inputs of it, 1 for a token and 0 for padding.
    """
    of_sides = [(f"{side}_input_tokens", f"{side}_segment_ids") for side in config.sides]
    fields = (*itertools.chain(*of_sides), *config.marks)

    def run(module: Any, batch: Batch) -> dict[str, jax.Array]:
        outputs = module(batch)
        return outputs if isinstance(outputs, dict) else {"logits": outputs}

    return Program(run=run, fields=fields)


def lower(model: FunctionalModel, program: Program, sizes: ProgramSizes, dtype: Any) -> export.Exported:
    """Return ``program`` of ``model`` for every platform; its weights are given in ``dtype``.

    Raises:
      ConfigError: for a size that the model has no positions for.
    """
    inputs = _abstract_inputs(model.config, program, sizes)
    stored = {name: jax.ShapeDtypeStruct(leaf.shape, dtype) for name, leaf in flatten(model.abstract_params)}

    def run(flat: dict[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        params: dict[str, Any] = {}
        for name, leaf in flatten(model.abstract_params):
            insert(params, name, flat[name].astype(leaf.dtype))
        return program.run(model.bind(params), batch)

    return export.export(jax.jit(run), platforms=PLATFORMS)(stored, inputs)


def _abstract_inputs(config: ModelConfig, program: Program, sizes: ProgramSizes) -> dict[str, Any]:
    """Return the inputs by field, with a symbol for every open size."""
    stacks = sorted({field.partition("_")[0] for field in program.fields})
    fixed = {f"{stack}_length": getattr(sizes, f"{stack}_length") for stack in stacks}
    limits = _limits(config, program)
    for length in fixed.values():
        config.check_length((length or 1) + program.added_length)
    scope = export.SymbolicScope([f"{name} <= {limits[name]}" for name in limits if fixed[name] is None])
    dimensions = {
        name: export.symbolic_shape(name, scope=scope)[0] if size is None else size
        for name, size in {"batch": sizes.batch_size, **fixed}.items()
    }
    return {
        field: jax.ShapeDtypeStruct(
            (dimensions["batch"], dimensions[f"{field.partition('_')[0]}_length"]), jnp.int32
        )
        for field in program.fields
    }


def _limits(config: ModelConfig, program: Program) -> dict[str, int]:
    """Return the largest lengths of a program's inputs, where the model sets any."""
    if config.position_limit is None:
        return {}
    stacks = sorted({field.partition("_")[0] for field in program.fields})
    return {f"{stack}_length": config.position_limit - program.added_length for stack in stacks}


def describe_program(config: ModelConfig, program: Program, exported: export.Exported) -> dict[str, Any]:
    """Return what programs.json says of a program: inputs, outputs and limits."""
    (_, inputs), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)

    def arrays(avals: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: {
                "shape": [size if isinstance(size, int) else str(size) for size in aval.shape],
                "dtype": aval.dtype.name,
            }
            for key, aval in avals.items()
        }

    return {
        "inputs": {field: arrays(inputs)[field] for field in program.fields},
        "outputs": arrays(outputs),
        "limits": _limits(config, program),
        "calling_convention_version": exported.calling_convention_version,
    }
