"""Adapters as Hugging Face's ``peft`` has them: ``adapter_config.json``, ``adapter_model.safetensors``."""

from t5lite.interop.peft.described import MARK
from t5lite.interop.peft.exporting import export_folder, how_to_load
from t5lite.interop.peft.importing import LowRankUpdates
from t5lite.interop.peft.prompts import VirtualTokens
from t5lite.interop.peft.reading import base_name, read_adapter

__all__ = [
    "MARK",
    "LowRankUpdates",
    "VirtualTokens",
    "base_name",
    "export_folder",
    "how_to_load",
    "read_adapter",
]
