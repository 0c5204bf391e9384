"""Adapters as Hugging Face's ``peft`` has them: ``adapter_config.json``, ``adapter_model.safetensors``."""

from t5lite.interop.peft.exporting import MARK, export_folder, how_to_load
from t5lite.interop.peft.importing import LowRankUpdates, base_name, read_updates

__all__ = ["MARK", "LowRankUpdates", "base_name", "export_folder", "how_to_load", "read_updates"]
