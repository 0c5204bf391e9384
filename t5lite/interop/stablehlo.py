"""Programs for serving: StableHLO by ``jax.export``, with the weights beside them.

A folder holds ``NAME.stablehlo`` for every program, model.safetensors, programs.json and the vocabulary's
files. It needs JAX and safetensors to run, nothing of t5lite. The weights are the first argument of every
program, as the flat dict that safetensors reads: all programs share one copy, and each is some kilobytes.
Sizes that are not fixed stay open (``jax.export``'s symbolic dimensions), so one program serves every batch.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from safetensors import SafetensorError
from safetensors.flax import load_file

from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.core.files import new_directory, write_bytes, write_json
from t5lite.core.registry import lookup
from t5lite.core.types import Batch, Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.interop.huggingface import DTYPES, Export
from t5lite.interop.huggingface.safetensors_files import WEIGHTS, Output, write_file
from t5lite.interop.huggingface.tensor_rules import check_fit, flatten, insert
from t5lite.models.config import EncoderOnlyConfig, ModelConfig
from t5lite.models.functional import FunctionalModel, build

logger = logging.getLogger(__name__)

MARK = "programs.json"
"""File by which a folder of programs is known."""
PLATFORMS = ("cpu", "tpu", "cuda")
"""What every program is lowered for."""
_FORWARD_FIELDS = {
    "encoder_decoder": (
        "encoder_input_tokens",
        "encoder_segment_ids",
        "decoder_input_tokens",
        "decoder_segment_ids",
    ),
    "encoder_only": ("encoder_input_tokens", "encoder_segment_ids"),
    "decoder_only": ("decoder_input_tokens", "decoder_segment_ids"),
}


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


@dataclass(frozen=True, kw_only=True)
class Program:
    """A function of a model to export.

    Attributes:
      run: takes the bound module and its inputs by field, returns its outputs by name; traceable.
      fields: names of its inputs, batch fields of ``core.types``: int32 ``[batch, length]``.
      added_length: positions that it needs beyond those of its inputs, for tokens that it adds.
    """

    run: Callable[[Any, Batch], dict[str, jax.Array]]
    fields: tuple[str, ...]
    added_length: int = 0


def export_folder(
    params: Tree,
    config: ModelConfig,
    out_dir: str | Path,
    *,
    vocabulary: Vocabulary | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    overwrite: bool = False,
    sizes: ProgramSizes | None = None,
    programs: Mapping[str, Program] | None = None,
) -> Export:
    """Write the forward pass and ``programs`` for CPU, TPU and CUDA, and their weights, as one folder.

    A program casts the weights to ``config.param_dtype``, so ``dtype`` is only how they are stored and held;
    it computes in ``config.compute_dtype``. It is for one device.

    Args:
      params: the nested dict of parameters, on the host or addressable from it.
      config: the model they belong to.
      out_dir: a new or empty directory.
      vocabulary: whose files to write along; None writes none.
      dtype: of the stored weights.
      overwrite: replace ``out_dir`` if it is such a folder.
      sizes: of the inputs; by default all are open.
      programs: further programs by name, such as greedy decoding.

    Raises:
      CheckpointError: if ``params`` do not fit ``config``.
      UserError: for an unknown ``dtype``, a size that the model has no positions for, or an ``out_dir``
        that is not empty.
    """
    out_dir, sizes = Path(out_dir), sizes or ProgramSizes()
    stored_dtype = np.dtype(lookup(DTYPES, dtype, kind="export dtype"))
    model = build(config)
    every = {"forward": forward_program(config), **(programs or {})}
    check_fit(
        "parameters",
        {name: leaf.shape for name, leaf in flatten(model.abstract_params)},
        {name: np.shape(leaf) for name, leaf in flatten(params)},
    )
    with new_directory(out_dir, overwrite=overwrite, mark=MARK) as folder:
        described = {}
        for name, program in every.items():
            exported = _lower(model, program, sizes, stored_dtype)
            content = bytes(exported.serialize())
            write_bytes(folder / f"{name}.stablehlo", content)
            described[name] = {
                "file": f"{name}.stablehlo",
                "sha256": hashlib.sha256(content).hexdigest(),
                **_describe_program(config, program, exported),
            }
        overflows = _write_weights(folder, params, stored_dtype)
        write_json(folder / MARK, _describe(model, described, dtype=dtype, vocabulary=vocabulary))
        if vocabulary is not None:
            vocabulary.write(folder)
    if overflows:
        logger.warning(
            "%d tensors overflow to infinity in %s: %s", len(overflows), dtype, ", ".join(overflows)
        )
    return Export(
        folder=out_dir,
        files=tuple(sorted(file.name for file in out_dir.iterdir())),
        num_params=model.num_params,
        num_bytes=model.num_params * stored_dtype.itemsize,
        overflows=overflows,
        class_name="jax.export.Exported",
    )


def fits(config: ModelConfig) -> str | None:
    """Return None: every model can be exported."""
    del config


def forward_program(config: ModelConfig) -> Program:
    """Return the forward pass: ``logits`` of a language model, or the outputs of an encoder's head by name.

    Segment ids are inputs of it, 1 for a token and 0 for padding.
    """
    fields = _FORWARD_FIELDS[config.architecture]
    if isinstance(config, EncoderOnlyConfig) and config.num_token_types:
        fields = (*fields, "encoder_token_types")

    def run(module: Any, batch: Batch) -> dict[str, jax.Array]:
        outputs = module(batch)
        return outputs if isinstance(outputs, dict) else {"logits": outputs}

    return Program(run=run, fields=fields)


@dataclass(frozen=True)
class ServingModel:
    """Programs and weights of a folder, read by ``load_exported``.

    Attributes:
      description: programs.json's content.
      params: the weights, by their flat names.
    """

    description: dict[str, Any]
    params: dict[str, jax.Array]
    _programs: dict[str, Callable[..., dict[str, jax.Array]]]

    def __call__(self, program: str, **inputs: Any) -> dict[str, jax.Array]:
        """Return the outputs by name of ``program`` for its inputs; compiled once for each shape.

        Raises:
          ConfigError: for an unknown program, inputs other than it takes, or longer ones.
        """
        call = lookup(self._programs, program, kind="program")
        described = self.description["programs"][program]
        expected = described["inputs"]
        if inputs.keys() != expected.keys():
            raise ConfigError(f"{program} takes {', '.join(expected)}, not {', '.join(inputs) or 'nothing'}")
        for field, value in inputs.items():
            name, length = f"{field.partition('_')[0]}_length", np.shape(value)[-1]
            if length > described["limits"].get(name, length):
                raise ConfigError(
                    f"{name}={length} is more than the {described['limits'][name]} of {program}"
                )
        return call(self.params, {name: jnp.asarray(value, jnp.int32) for name, value in inputs.items()})


def load_exported(path: str | Path) -> ServingModel:
    """Return the programs of a folder that ``export_folder`` wrote, with its weights on the default device.

    Raises:
      CheckpointError: if a file is missing or damaged, or the programs are not for this JAX.
    """
    folder = Path(path)
    try:
        description = json.loads((folder / MARK).read_text(encoding="utf-8"))
        params = load_file(folder / WEIGHTS)
        contents = {
            name: (folder / program["file"]).read_bytes() for name, program in description["programs"].items()
        }
        damaged = [
            description["programs"][name]["file"]
            for name, content in contents.items()
            if hashlib.sha256(content).hexdigest() != description["programs"][name]["sha256"]
        ]
        if damaged:
            raise CheckpointError(f"{folder / damaged[0]} is damaged; export the folder again")
        programs = {
            name: jax.jit(export.deserialize(bytearray(content)).call) for name, content in contents.items()
        }
    except FileNotFoundError as error:
        raise CheckpointError(f"{error.filename} is missing; export the folder again") from None
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be read ({error}); export it again") from error
    return ServingModel(description, params, programs)


def _write_weights(folder: Path, params: Tree, dtype: np.dtype[Any]) -> dict[str, int]:
    """Write the weights by their flat names, one at a time; return how many values of which overflow."""
    overflows: dict[str, int] = {}

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        for name, leaf in flatten(params):
            value = np.asarray(jax.device_get(leaf))
            with np.errstate(over="ignore"):
                cast = value.astype(dtype, copy=False)
            if grown := int(np.isinf(cast).sum()) - int(np.isinf(value).sum()):
                overflows[name] = grown
            yield name, cast

    shapes = tuple((name, np.shape(leaf)) for name, leaf in flatten(params))
    write_file(folder, Output(WEIGHTS, shapes), dtype, arrays())
    return overflows


def _lower(model: FunctionalModel, program: Program, sizes: ProgramSizes, dtype: Any) -> export.Exported:
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
    if config.positions != "learned":
        return {}
    stacks = sorted({field.partition("_")[0] for field in program.fields})
    return {f"{stack}_length": config.max_length - program.added_length for stack in stacks}


def _describe_program(config: ModelConfig, program: Program, exported: export.Exported) -> dict[str, Any]:
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


def _describe(
    model: FunctionalModel, programs: dict[str, Any], *, dtype: str, vocabulary: Vocabulary | None
) -> dict[str, Any]:
    known = vocabulary and {
        "kind": vocabulary.kind,
        "size": vocabulary.size,
        "files": sorted(vocabulary.files),
        "extra_ids": vocabulary.extra_ids,
        "pad_id": vocabulary.pad_id,
        "eos_id": vocabulary.eos_id,
    }
    return {
        "format": "jax.export",
        "jax_version": jax.__version__,
        "platforms": list(PLATFORMS),
        "weights": {"file": WEIGHTS, "dtype": dtype, "num_params": model.num_params},
        "programs": programs,
        "vocabulary": known,
        "architecture": model.config.architecture,
        "model": dataclasses.asdict(model.config),
    }
