"""Other systems' model formats, in and out: one file or package a format."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from t5lite.core.errors import ConfigError
from t5lite.core.registry import lookup
from t5lite.core.storage.addresses import StoragePath
from t5lite.data.vocabulary import Vocabulary
from t5lite.interop import huggingface, peft, stablehlo, t5x
from t5lite.interop.departure import Export
from t5lite.interop.usage import Usage
from t5lite.models.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format: how a model leaves, how it comes back, and the vocabulary that lies beside it.

    Attributes:
      fits: None if a model of a configuration exists in the format, else the reason why not.
      export_folder: see ``huggingface.export_folder``; None where the format is only read.
      import_folder: see ``huggingface.import_folder``, of an adapter ``peft.read_adapter``; None where the
        format is only written.
      read_vocabulary: the vocabulary in an imported folder, or None; None where the format has none.
      check_vocabulary: refuses a vocabulary that an imported folder contradicts; None where it says nothing.
      check_tokenizer: refuses a vocabulary that an export could not write; None where it writes any.
      read_usage: how an imported folder's model is used, which ``export_folder`` takes as ``usage``; None
        where the format says nothing of it.
      read_kept_files: files of an imported folder that an export gives back (its argument ``kept_files``);
        None where it gives none.
      mark: a file that every exported folder has and no run directory: only such a folder is overwritten.
      takes: further arguments of ``export_folder`` and ``import_folder`` that a user, or a run, may give.
      loading: how the folder of an export is loaded, for the user; None where the format is only read.
      of_adapter: whether a folder holds an adapter alone, and not a model.
    """

    fits: Callable[[ModelConfig], str | None]
    export_folder: Callable[..., Any] | None = None
    import_folder: Callable[..., Any] | None = None
    read_vocabulary: Callable[..., Vocabulary | None] | None = None
    check_vocabulary: Callable[..., None] | None = None
    check_tokenizer: Callable[..., None] | None = None
    read_usage: Callable[..., Usage] | None = None
    mark: str | None = None
    read_kept_files: Callable[[StoragePath], Mapping[str, bytes]] | None = None
    takes: frozenset[str] = frozenset()
    loading: Callable[[Export, str], Sequence[str]] | None = None
    of_adapter: bool = False


FORMATS: dict[str, Format] = {
    "huggingface": Format(
        fits=huggingface.fits,
        export_folder=huggingface.export_folder,
        import_folder=huggingface.import_folder,
        read_vocabulary=huggingface.read_vocabulary,
        check_vocabulary=huggingface.check_vocabulary,
        check_tokenizer=huggingface.check_tokenizer,
        read_usage=huggingface.read_usage,
        mark=huggingface.MARK,
        read_kept_files=huggingface.read_kept_files,
        takes=frozenset({"max_shard_bytes", "usage", "kept_files", "frame"}),
        loading=huggingface.how_to_load,
    ),
    "peft": Format(
        fits=huggingface.fits,
        export_folder=peft.export_folder,
        import_folder=peft.read_adapter,
        mark=peft.MARK,
        takes=frozenset({"base", "base_export"}),
        loading=peft.how_to_load,
        of_adapter=True,
    ),
    "stablehlo": Format(
        fits=stablehlo.fits,
        export_folder=stablehlo.export_folder,
        mark=stablehlo.MARK,
        takes=frozenset({"sizes", "programs"}),
        loading=stablehlo.how_to_load,
    ),
    "t5x": Format(fits=t5x.fits, import_folder=t5x.import_folder, takes=frozenset({"activation"})),
}
"""Every format that ``export`` and ``import`` can name."""


def format_for(direction: Literal["export", "import"], name: str) -> Format:
    """Return the format called ``name``.

    Raises:
      ConfigError: if there is none, or it does not exist in this direction.
    """
    able = {other: each for other, each in FORMATS.items() if getattr(each, f"{direction}_folder")}
    if name in FORMATS and name not in able:
        raise ConfigError(f"format {name!r} has no {direction}; allowed: {', '.join(able)}")
    return lookup(able, name, kind="format")


def format_of(folder: StoragePath) -> str:
    """Return the format of a folder of which nothing else is said: an adapter's alone, or a model's."""
    is_adapter = (folder / peft.MARK).is_file() and not (folder / huggingface.CONFIG).is_file()
    return "peft" if is_adapter else "huggingface"


def check_takes(name: str, option: str, *, flag: str) -> None:
    """Check that the format called ``name`` takes an option.

    Raises:
      ConfigError: naming the formats that do.
    """
    if option not in FORMATS[name].takes:
        able = " and ".join(other for other, each in FORMATS.items() if option in each.takes)
        raise ConfigError(f"{flag} is for --format {able}, not for {name}; leave it out")
