"""The tensors of a folder by name, whichever kind of file they lie in; read one at a time."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.core.errors import CheckpointError
from t5lite.interop.huggingface.pytorch_files import read_pytorch
from t5lite.interop.safetensors_files import INDEX, WEIGHTS, read_entry, read_header
from t5lite.interop.trees import Shape

PYTORCH_WEIGHTS, PYTORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_UNREADABLE_SUFFIXES = (".pt", ".pth", ".h5", ".msgpack", ".ckpt")
_FLOATS = ("float32", "float16", "bfloat16", "float64")
_COMPARED_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Stored:
    """One tensor: what is known of it, and the way to its values (or to some rows of them)."""

    shape: Shape
    dtype: str
    read: Callable[[slice], np.ndarray]

    @property
    def whole(self) -> np.ndarray:
        """The values."""
        return self.read(slice(None))


def from_arrays(tensors: Mapping[str, np.ndarray]) -> dict[str, Stored]:
    """Return tensors that are in memory already."""
    return {
        name: Stored(tensor.shape, tensor.dtype.name, partial(np.ndarray.__getitem__, tensor))
        for name, tensor in tensors.items()
    }


def open_folder(folder: Path) -> dict[str, Stored]:
    """Return the tensors of a Hugging Face folder; safetensors before ``pytorch_model.bin``.

    Raises:
      CheckpointError: if there are no weights, or a file is missing, damaged, or differs from its index.
      UserError: if there is only a ``pytorch_model.bin`` and no PyTorch.
    """
    for weights, index, read in (
        (WEIGHTS, INDEX, _read_safetensors),
        (PYTORCH_WEIGHTS, PYTORCH_INDEX, _read_pytorch),
    ):
        if (folder / weights).is_file():
            return read(folder / weights)
        if (folder / index).is_file():
            return _read_shards(folder / index, read)
    found = sorted(file.name for file in folder.iterdir() if file.suffix in _UNREADABLE_SUFFIXES)
    raise CheckpointError(
        f"{folder} has neither {WEIGHTS} nor {INDEX}, and no {PYTORCH_WEIGHTS}"
        + (f"; {', '.join(found)} cannot be read safely: load it with transformers and" if found else ";")
        + " write it with save_pretrained"
    )


def same_values(a: Stored, b: Stored) -> bool:
    """Return whether two tensors are equal, holding a few rows of each at a time."""
    if a.shape != b.shape:
        return False
    if not a.shape:
        return bool(np.array_equal(a.whole, b.whole))
    row_bytes = 4 * max(1, int(np.prod(a.shape[1:], dtype=np.int64)))
    step = max(1, _COMPARED_BYTES // row_bytes)
    blocks = (slice(start, min(start + step, a.shape[0])) for start in range(0, a.shape[0], step))
    return all(np.array_equal(a.read(rows), b.read(rows)) for rows in blocks)


def check_floating(tensors: Mapping[str, Stored]) -> None:
    """Check that every tensor is of a floating-point type.

    Raises:
      CheckpointError: naming the first that is not.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise CheckpointError(
                f"{name} has dtype {tensor.dtype}; allowed: {', '.join(_FLOATS)} "
                "(a quantized checkpoint cannot be imported)"
            )


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
      CheckpointError: if the file is missing or is not one.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing; give a folder that save_pretrained wrote") from None
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged ({error}); fetch the folder again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} is damaged (not a JSON object); fetch the folder again")
    return value


def _read_safetensors(file: Path) -> dict[str, Stored]:
    return {
        name: Stored(entry.shape, entry.dtype_name, partial(read_entry, entry))
        for name, entry in read_header(file).items()
    }


def _read_pytorch(file: Path) -> dict[str, Stored]:
    return {name: Stored(*tensor) for name, tensor in read_pytorch(file).items()}


def _read_shards(index: Path, read: Callable[[Path], dict[str, Stored]]) -> dict[str, Stored]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; fetch the folder again")
    tensors: dict[str, Stored] = {}
    for shard in sorted(set(map(str, weight_map.values()))):
        if Path(shard).name != shard:
            raise CheckpointError(f"{index} points outside its folder, to {shard!r}")
        found = read(index.parent / shard)
        promised = {name for name, file in weight_map.items() if file == shard}
        if differing := sorted(promised ^ found.keys()):
            raise CheckpointError(
                f"{index.parent / shard} and {index.name} disagree about {', '.join(differing[:8])}; "
                "fetch the folder again"
            )
        tensors |= found
    return tensors
