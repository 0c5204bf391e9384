"""``pytorch_model.bin``: the one place where PyTorch is imported, and only when such a file is read.

A pickle may run any code when it is loaded. ``torch.load(weights_only=True)`` builds nothing but tensors and
refuses the rest; there is no other safe reader, so without PyTorch the file is not read.
"""

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from t5lite.core.bounded_reads import open_regular
from t5lite.core.errors import CheckpointError, UserError
from t5lite.core.lfs import check_not_lfs_pointer
from t5lite.interop.trees import Shape


def read_pytorch(file: Path) -> dict[str, tuple[Shape, str, Any]]:
    """Return (shape, dtype, function from rows to values) of every tensor of a file that torch.save wrote.

    The file is mapped and not read, unless it has the layout of before PyTorch 1.6 (2020), which is read
    whole.

    Raises:
      CheckpointError: if the file is missing, damaged, or holds something other than tensors by name.
      UserError: if PyTorch is not installed.
    """
    check_not_lfs_pointer(file)
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{file} needs PyTorch to be read safely, and it is not installed; `pip install torch`, or "
            "convert the folder to safetensors (load it with transformers, write it with save_pretrained)"
        ) from None
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; fetch the folder again")
    try:
        with open_regular(file) as stream:
            zipped = stream.read(4) == b"PK\x03\x04"
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{file} holds more than tensors and was not loaded ({reason}); use the model's safetensors"
        ) from error
    except (RuntimeError, ValueError, EOFError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{file} is damaged or truncated ({reason}); fetch the folder again") from error
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise CheckpointError(f"{file} is not a dict of tensors by name; give a model's pytorch_model.bin")
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"{file}: {name} {tuple(tensor.shape)} has more elements than the file has values for it (an "
                "expanded view); save the model again with save_pretrained"
            )

    def values(tensor: Any, rows: slice) -> np.ndarray:
        part = tensor.detach()[rows] if tensor.ndim else tensor.detach()
        if part.dtype == torch.bfloat16:  # which NumPy has not
            return part.contiguous().view(torch.int16).numpy().copy().view(ml_dtypes.bfloat16)
        return part.numpy().copy()

    return {
        name: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), partial(values, tensor))
        for name, tensor in state.items()
    }
