"""The tensors of a folder by name, whichever kind of file they lie in; read one at a time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.core.errors import CheckpointError
from t5lite.core.json_text import load_json
from t5lite.interop.huggingface.pytorch_files import read_pytorch
from t5lite.interop.safetensors_files import INDEX, WEIGHTS, read_entry, read_header, unique_keys
from t5lite.interop.trees import Shape, listed

PYTORCH_WEIGHTS, PYTORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_UNREADABLE_SUFFIXES = (".pt", ".pth", ".h5", ".msgpack", ".ckpt")
_FLOATS = ("float32", "float16", "bfloat16", "float64")
UNQUANTIZE = (
    "take the model as it was before it was quantized, or load it with transformers, call dequantize() and "
    "save_pretrained()"
)
"""What to do with a quantized checkpoint."""
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


def has_weights(folder: Path) -> bool:
    """Return whether a folder holds the weights of a model in files that can be read."""
    return any((folder / name).is_file() for name in _READERS)


def check_weights(folder: Path) -> None:
    """Check that a folder holds weights; ``open_folder`` looks into them.

    Raises:
      CheckpointError: if it has none that can be read.
    """
    if has_weights(folder):
        return
    found = sorted(file.name for file in folder.iterdir() if file.suffix in _UNREADABLE_SUFFIXES)
    raise CheckpointError(
        f"{folder} has neither {WEIGHTS} nor {INDEX}, and no {PYTORCH_WEIGHTS}"
        + (f"; {', '.join(found)} cannot be read safely: load it with transformers and" if found else ";")
        + " write it with save_pretrained"
    )


def open_folder(folder: Path) -> dict[str, Stored]:
    """Return the tensors of a Hugging Face folder; safetensors before ``pytorch_model.bin``.

    Raises:
      CheckpointError: if there are no weights, or a file is missing, damaged, or differs from its index.
      UserError: if there is only a ``pytorch_model.bin`` and no PyTorch.
    """
    check_weights(folder)
    name = next(name for name in _READERS if (folder / name).is_file())
    read = _READERS[name]
    return _read_shards(folder / name, read) if name in (INDEX, PYTORCH_INDEX) else read(folder / name)


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
      CheckpointError: with the number of those that are not, their names and types.
    """
    others = [
        f"{name} has dtype {tensor.dtype}" for name, tensor in tensors.items() if tensor.dtype not in _FLOATS
    ]
    if others:
        raise CheckpointError(
            f"{len(others)} of {len(tensors)} tensors are not of {', '.join(_FLOATS)}: {listed(others, 8)} "
            f"(a quantized checkpoint cannot be imported); {UNQUANTIZE}"
        )


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
      CheckpointError: if the file is missing or is not one.
    """
    try:
        value = load_json(file, object_pairs_hook=unique_keys)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing; give a folder that save_pretrained wrote") from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror}); check it and its folder") from error
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged ({error}); fetch the folder again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} is damaged (not a JSON object); fetch the folder again")
    return value


def open_safetensors(file: Path) -> dict[str, Stored]:
    """Return the tensors of one file by name; errors as of ``read_header``."""
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


_READERS = {
    WEIGHTS: open_safetensors,
    INDEX: open_safetensors,
    PYTORCH_WEIGHTS: _read_pytorch,
    PYTORCH_INDEX: _read_pytorch,
}
"""The files that a folder's weights may be, in order of preference."""
