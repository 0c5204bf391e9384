"""Checkpoints of T5X, read without T5X or TensorFlow: msgpack, TensorStore and Orbax, scanned or not."""

from t5lite.interop.t5x.folder import import_folder
from t5lite.interop.t5x.mapping import fits

__all__ = ["fits", "import_folder"]
