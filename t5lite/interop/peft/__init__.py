"""Adapters as Hugging Face's ``peft`` has them: ``adapter_config.json``, ``adapter_model.safetensors``."""

from t5lite.interop.peft.exporting import MARK, export_folder, how_to_load

__all__ = ["MARK", "export_folder", "how_to_load"]
