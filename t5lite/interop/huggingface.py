"""Folders that transformers' ``from_pretrained`` reads and ``save_pretrained`` writes, for T5 1.0 and 1.1.

transformers itself is not needed. Weights are read and written as safetensors only.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from t5lite.core.errors import CheckpointError, UserError, suggestion
from t5lite.core.files import new_directory, write_json
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.interop.huggingface_config import from_huggingface, generation_config, to_huggingface
from t5lite.interop.huggingface_tokenizer import read_vocabulary, write_tokenizer
from t5lite.interop.huggingface_weights import has_own_head, params_from_state_dict, state_dict_from_params
from t5lite.models.config import EncoderDecoderConfig

__all__ = [
    "DTYPES",
    "MARK",
    "Export",
    "export_folder",
    "import_folder",
    "params_from_state_dict",
    "read_vocabulary",
    "state_dict_from_params",
]

logger = logging.getLogger(__name__)

DTYPES: dict[str, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
"""Dtypes that weights can be exported in."""

_CONFIG, _GENERATION_CONFIG = "config.json", "generation_config.json"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
MARK = _GENERATION_CONFIG
"""File by which an exported folder is known; a run directory, which has a config.json too, lacks it."""
_UNSAFE_SUFFIXES = (".bin", ".pt", ".h5", ".msgpack")


@dataclass(frozen=True, kw_only=True)
class Export:
    """What ``export_folder`` wrote.

    Attributes:
      folder: where it is.
      files: names of its files.
      num_params: number of exported values; a tied embedding counts once.
      num_bytes: size of the weights.
      overflows: tensors with a finite value that became infinite in the exported dtype (float16 only).
    """

    folder: Path
    files: tuple[str, ...]
    num_params: int
    num_bytes: int
    overflows: tuple[str, ...]


def export_folder(
    params: Tree,
    config: EncoderDecoderConfig,
    out_dir: str | Path,
    *,
    vocabulary: Vocabulary | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
) -> Export:
    """Write a folder that ``AutoModelForSeq2SeqLM`` and (with a vocabulary) ``AutoTokenizer`` load offline.

    The folder appears whole or not at all. Casting to float16 may overflow: the tensors are named in a
    warning and in the result. Even without, T5's activations overflow in float16 more easily than its
    weights do; bfloat16 is the safe half precision.

    Args:
      params: the nested dict of parameters, on the host or addressable from it.
      config: the model they belong to.
      out_dir: a new or empty directory.
      vocabulary: the tokenizer to write along; None writes the model alone.
      dtype: of the exported weights, a key of ``DTYPES``.
      overwrite: replace ``out_dir`` if it is not empty; only what has a generation_config.json, as an
        exported folder has and a run directory has not.

    Raises:
      UserError: for an unknown ``dtype``, or an ``out_dir`` that is not empty.
      CheckpointError: if ``params`` or ``vocabulary`` do not fit ``config``.
      DataError: if the vocabulary cannot be written as a Hugging Face tokenizer.
    """
    out_dir = Path(out_dir)
    if dtype not in DTYPES:
        raise UserError(f"unknown export dtype {dtype!r}{suggestion(dtype, DTYPES)}")
    if vocabulary is not None and vocabulary.size > config.vocab_size:
        raise CheckpointError(
            f"the vocabulary {vocabulary.path} has {vocabulary.size} ids, sentinels included, but the "
            f"model's table only vocab_size={config.vocab_size} rows; give the vocabulary it was trained with"
        )
    with new_directory(out_dir, overwrite=overwrite, mark=MARK) as folder:
        tensors = state_dict_from_params(params, config)
        overflows = []
        for name, tensor in tensors.items():
            with np.errstate(over="ignore"):
                tensors[name] = tensor.astype(DTYPES[dtype], copy=False)
            if np.isinf(tensors[name]).sum() > np.isinf(tensor).sum():
                overflows.append(name)
        try:
            save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:
            raise UserError(
                f"cannot write {out_dir / _WEIGHTS} ({error}); check free space and permissions"
            ) from error
        (folder / _WEIGHTS).chmod(0o644)  # safetensors leaves it to the owner alone
        write_json(folder / _CONFIG, to_huggingface(config, dtype=dtype))
        write_json(folder / _GENERATION_CONFIG, generation_config(config))
        if vocabulary is not None:
            write_tokenizer(vocabulary, folder)
    if overflows:
        logger.warning(
            "%d tensors overflow to infinity in %s (%s); export in bfloat16 or float32 instead",
            len(overflows),
            dtype,
            ", ".join(overflows),
        )
    return Export(
        folder=out_dir,
        files=tuple(sorted(file.name for file in out_dir.iterdir())),
        num_params=sum(tensor.size for tensor in tensors.values()),
        num_bytes=sum(tensor.nbytes for tensor in tensors.values()),
        overflows=tuple(overflows),
    )


def import_folder(
    path: str | Path, *, param_dtype: Literal["float32", "bfloat16"] = "float32"
) -> tuple[EncoderDecoderConfig, Tree]:
    """Return the configuration and the nested dict of NumPy parameters of a transformers T5 folder.

    Weights are one model.safetensors, or several with model.safetensors.index.json. Whether the model is
    tied (1.0) or not (1.1) comes from config.json and, where that is open, from the tensors. The vocabulary
    is read by ``read_vocabulary``.

    Raises:
      UserError: for a model other than T5 1.0 and 1.1, naming key, value and what is allowed.
      CheckpointError: if a file is missing or damaged, or tensors are missing, unexpected or misshapen.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a directory; give a folder that save_pretrained wrote")
    tensors = _read_tensors(folder)
    config = from_huggingface(
        _read_json(folder / _CONFIG), has_own_head=has_own_head(tensors), param_dtype=param_dtype
    )
    return config, params_from_state_dict(tensors, config)


def _read_tensors(folder: Path) -> dict[str, np.ndarray]:
    if (folder / _WEIGHTS).is_file():
        return _load(folder / _WEIGHTS)
    if not (folder / _INDEX).is_file():
        found = sorted(file.name for file in folder.iterdir() if file.suffix in _UNSAFE_SUFFIXES)
        raise CheckpointError(
            f"{folder} has neither {_WEIGHTS} nor {_INDEX}"
            + (f"; {', '.join(found)} cannot be read safely: load it with transformers and" if found else ";")
            + " write it with save_pretrained"
        )
    weight_map = _read_json(folder / _INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{folder / _INDEX} has no weight_map; fetch the folder again")
    tensors: dict[str, np.ndarray] = {}
    for shard in sorted(set(map(str, weight_map.values()))):
        if Path(shard).name != shard:
            raise CheckpointError(f"{folder / _INDEX} points outside its folder, to {shard!r}")
        loaded = _load(folder / shard)
        promised = {name for name, file in weight_map.items() if file == shard}
        if differing := sorted(promised ^ loaded.keys()):
            raise CheckpointError(
                f"{folder / shard} and {_INDEX} disagree about {', '.join(differing[:8])}; "
                "fetch the folder again"
            )
        tensors |= loaded
    return tensors


def _load(file: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(file)
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing; fetch the folder again") from None
    except (SafetensorError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} is damaged or truncated ({error}); fetch the folder again") from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing; give a folder that save_pretrained wrote") from None
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged ({error}); fetch the folder again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{file} is damaged (not a JSON object); fetch the folder again")
    return value
