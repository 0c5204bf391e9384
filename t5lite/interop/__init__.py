"""Other systems' model formats, in and out: one file (and its helpers) a format."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from t5lite.data.vocabulary import Vocabulary
from t5lite.interop import huggingface


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format: how a model leaves, how it comes back, and the vocabulary that lies beside it.

    Attributes:
      export_folder: see ``huggingface.export_folder``; every format takes the same arguments.
      import_folder: see ``huggingface.import_folder``.
      read_vocabulary: the vocabulary in an imported folder, or None.
      mark: a file that every exported folder has and no run directory: only such a folder is overwritten.
    """

    export_folder: Callable[..., huggingface.Export]
    import_folder: Callable[..., tuple[Any, Any]]
    read_vocabulary: Callable[..., Vocabulary | None]
    mark: str


FORMATS: dict[str, Format] = {
    "huggingface": Format(
        export_folder=huggingface.export_folder,
        import_folder=huggingface.import_folder,
        read_vocabulary=huggingface.read_vocabulary,
        mark=huggingface.MARK,
    ),
}
"""Every format that ``export`` and ``import`` can name."""
