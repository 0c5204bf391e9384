"""A Hugging Face folder to a configuration and parameters."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.core.errors import CheckpointError
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.interop.arrival import Placement, shardings_of
from t5lite.interop.huggingface.families import family_of, family_of_json
from t5lite.interop.huggingface.family import Values
from t5lite.interop.huggingface.fitting import Fitted, fit, refuse_differing
from t5lite.interop.huggingface.refusals import refuse_adapter, refuse_other_start, refuse_quantized
from t5lite.interop.huggingface.stored_tensors import check_weights, from_arrays, open_folder, read_json
from t5lite.interop.huggingface.tensor_names import canonical_names
from t5lite.interop.huggingface.usage import ids_of_eos
from t5lite.interop.huggingface.weights import read_params
from t5lite.models.config import Dtype, Execution, ModelConfig
from t5lite.models.functional import build

CONFIG = "config.json"


def import_folder(
    path: str | Path,
    *,
    param_dtype: Dtype = "float32",
    partitioner: Placement = None,
    check: Callable[[ModelConfig], None] = lambda _: None,
) -> tuple[ModelConfig, Tree]:
    """Return the configuration and the nested dict of parameters of a folder that ``save_pretrained`` wrote.

    Weights are read one tensor at a time from safetensors, or from ``pytorch_model.bin`` where PyTorch is
    installed, each single or in shards with an index. Before the first value is read and the first parameter
    made, config.json and all tensors' names, shapes and types are checked. The vocabulary is read by
    ``read_vocabulary``.

    Args:
      path: the folder.
      param_dtype: dtype of the parameters, whatever the file's.
      partitioner: where to put them: they arrive sharded, and host memory holds one tensor at a time.
        "fitting" takes all devices, sharded where they divide a parameter. None returns NumPy arrays.
      check: what else is to be checked before values are read: it may raise.

    Raises:
      UserError: for a model that no family has, naming key, value and what is allowed; for an adapter or
        quantized weights; for a ``pytorch_model.bin`` without PyTorch.
      CheckpointError: if a file is missing or damaged, or tensors are missing, unexpected, misshapen or not
        finite.
      ConfigError: if the partitioner's mesh does not divide the heads.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a directory; give a folder that save_pretrained wrote")
    refuse_adapter(folder)
    check_weights(folder)
    values = Values(read_json(folder / CONFIG))
    refuse_quantized(values)
    family = family_of_json(values)
    config: Any = family.from_json(values)
    refuse_other_start(folder, config)
    stored = canonical_names(open_folder(folder), family)
    config = family.completed(config, values, {name: tensor.shape for name, tensor in stored.items()})
    fitted = fit(stored, family, config)
    check(config)
    if (differing := fitted.differing_copies()) and (untied := family.untied(config, values)) is not None:
        config, fitted = untied, fit(stored, family, untied)
        differing = fitted.differing_copies()
    refuse_differing(differing)
    return config, _read(fitted, config, param_dtype, partitioner)


def check_vocabulary(path: str | Path, vocabulary: Vocabulary) -> None:
    """Check that a folder's model ends a text with the id that ``vocabulary`` ends it with, or has it too.

    It is checked of the encoder-decoders, which learn and generate nothing without EOS. Causal models may
    have several or none, and training data decides.

    Raises:
      CheckpointError: if the ids differ.
    """
    values = Values(read_json(Path(path) / CONFIG))
    default = family_of_json(values).default_eos
    if default is None:
        return
    expected = ids_of_eos(values.get("eos_token_id")) or (default,)
    if vocabulary.eos_id not in expected:
        raise CheckpointError(
            f"config.json: eos_token_id={' or '.join(map(str, expected))}, but {vocabulary.path} has EOS "
            f"{vocabulary.eos_id}; give the vocabulary that the weights were trained with, or set "
            "eos_token_id to its id"
        )


def params_from_state_dict(
    tensors: Mapping[str, np.ndarray], config: ModelConfig, *, param_dtype: Dtype = "float32"
) -> Tree:
    """Return the nested dict of NumPy parameters, in ``param_dtype``, that ``tensors`` describe.

    Copies of a tied embedding table under other names must equal it. An untied T5 without
    ``lm_head.weight`` gets a copy of ``shared.weight`` there, which computes the same (transformers 5
    writes such checkpoints when it trains a T5 1.1 from scratch). Nothing else is skipped or made up.

    Raises:
      CheckpointError: listing missing, unexpected and misshapen tensors by name and shape, copies that
        differ, and tensors that are not of a floating-point type or hold NaN or infinity.
      UserError: if no class of transformers is a model of ``config``.
    """
    family = family_of(config)
    fitted = fit(canonical_names(from_arrays(tensors), family), family, config)
    refuse_differing(fitted.differing_copies())
    return _read(fitted, config, param_dtype, None)


def _read(fitted: Fitted, config: ModelConfig, param_dtype: Dtype, partitioner: Placement) -> Tree:
    model = build(config, Execution(param_dtype=param_dtype))
    shardings = shardings_of(model, partitioner)
    return read_params(fitted.stored, fitted.tensors, model.abstract_params, shardings=shardings)
