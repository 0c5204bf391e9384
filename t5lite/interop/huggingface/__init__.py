"""Folders that transformers' ``from_pretrained`` reads and ``save_pretrained`` writes; without transformers.

One file a family lies in ``families/``: its config.json both ways, and which tensors hold which parameters.
"""

from t5lite.interop.huggingface.exporting import (
    MARK,
    MAX_SHARD_BYTES,
    check_tokenizer,
    export_folder,
    how_to_load,
    read_kept_files,
    state_dict_from_params,
)
from t5lite.interop.huggingface.families import FAMILIES, fits
from t5lite.interop.huggingface.importing import (
    CONFIG,
    check_vocabulary,
    import_folder,
    params_from_state_dict,
)
from t5lite.interop.huggingface.tokenizer_files import export_obstacle, read_vocabulary
from t5lite.interop.huggingface.usage import read_usage

__all__ = [
    "CONFIG",
    "FAMILIES",
    "MARK",
    "MAX_SHARD_BYTES",
    "check_tokenizer",
    "check_vocabulary",
    "export_folder",
    "export_obstacle",
    "fits",
    "how_to_load",
    "import_folder",
    "params_from_state_dict",
    "read_kept_files",
    "read_usage",
    "read_vocabulary",
    "state_dict_from_params",
]
