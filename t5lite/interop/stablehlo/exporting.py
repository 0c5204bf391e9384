"""A model as a folder of programs and their weights."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from t5lite.core.files import new_directory, write_bytes, write_json
from t5lite.core.registry import lookup
from t5lite.core.storage.addresses import place
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.interop.departure import DTYPES, Cast, Export, layers_on_host
from t5lite.interop.finiteness import check_finite
from t5lite.interop.safetensors_files import WEIGHTS, Output, write_file
from t5lite.interop.stablehlo.programs import (
    MARK,
    PLATFORMS,
    ProgramSizes,
    describe_program,
    forward_program,
    lower,
)
from t5lite.interop.trees import check_fit, flatten
from t5lite.models.config import Execution, ModelConfig
from t5lite.models.config.json_form import to_json
from t5lite.models.functional import FunctionalModel, build
from t5lite.models.program import Program


def export_folder(
    params: Tree,
    config: ModelConfig,
    out_dir: str | os.PathLike[str],
    *,
    execution: Execution | None = None,
    vocabulary: Vocabulary | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    overwrite: bool = False,
    sizes: ProgramSizes | None = None,
    programs: Mapping[str, Program] | None = None,
) -> Export:
    """Write the forward pass and ``programs`` for CPU, TPU and CUDA, and their weights, as one folder.

    The weights are written one layer at a time. A program casts them to ``execution.param_dtype``, so
    ``dtype`` is only how they are stored and held; it computes in ``execution.compute_dtype``. It is for one
    device.

    Args:
      params: the nested dict of parameters, on the host or addressable from it.
      config: the model they belong to.
      out_dir: a new or empty directory.
      execution: how the programs compute, except that a kernel of one platform computes nothing; by default
        in float32.
      vocabulary: whose files to write along; None writes none.
      dtype: of the stored weights.
      overwrite: replace ``out_dir`` if it is such a folder, with nothing in it but what was exported.
      sizes: of the inputs; by default all are open.
      programs: further programs by name, such as greedy decoding.

    Raises:
      CheckpointError: if ``params`` do not fit ``config`` or are not finite.
      UserError: for an unknown ``dtype``, a size that the model has no positions for, or an ``out_dir``
        that is not empty.
    """
    out_dir, sizes = place(out_dir), sizes or ProgramSizes()
    cast = Cast(np.dtype(lookup(DTYPES, dtype, kind="export dtype")))
    # A kernel is for one platform, and a program for all of them.
    model = build(config, dataclasses.replace(execution or Execution(), attention="reference"))
    every = {"forward": forward_program(config), **(programs or {})}
    check_fit(
        "parameters",
        {name: leaf.shape for name, leaf in flatten(model.abstract_params)},
        {name: np.shape(leaf) for name, leaf in flatten(params)},
    )
    check_finite(params)
    with new_directory(out_dir, overwrite=overwrite, mark=MARK) as folder:
        described = {}
        for name, program in every.items():
            exported = lower(model, program, sizes, cast.dtype)
            content = bytes(exported.serialize())
            write_bytes(folder / f"{name}.stablehlo", content)
            described[name] = {
                "file": f"{name}.stablehlo",
                "sha256": hashlib.sha256(content).hexdigest(),
                **describe_program(config, program, exported),
            }
        _write_weights(folder, params, cast)
        write_json(folder / MARK, _describe(model, described, dtype=dtype, vocabulary=vocabulary))
        if vocabulary is not None:
            vocabulary.write(folder)
        written = tuple(sorted(file.name for file in folder.iterdir()))
    cast.warn()
    return Export(
        folder=out_dir,
        files=written,
        num_params=model.num_params,
        num_bytes=model.num_params * cast.dtype.itemsize,
        overflows=cast.overflows,
        class_name="jax.export.Exported",
    )


def fits(config: ModelConfig) -> str | None:
    """Return None: every model can be exported."""
    del config


def _write_weights(folder: Path, params: Tree, cast: Cast) -> None:
    """Write the weights by their flat names, one layer at a time."""

    def parts() -> Iterator[tuple[str, np.ndarray]]:
        for name, leaf in flatten(params):
            for part in layers_on_host(name, leaf):
                yield name, cast(name, part)

    shapes = tuple((name, np.shape(leaf)) for name, leaf in flatten(params))
    write_file(folder, Output(WEIGHTS, shapes), cast.dtype, parts())


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
        "model": to_json(model.config),
        "execution": dataclasses.asdict(model.execution),
    }


def how_to_load(done: Export, folder: str) -> list[str]:
    """Return which programs there are, and how they are loaded; ``folder`` is how it is written in Python."""
    programs = [name for name in done.files if name.endswith(".stablehlo")]
    return [f"{', '.join(programs)}: t5lite.interop.stablehlo.load_exported({folder})"]
