"""Chat templates beside a tokenizer: in which files they come, and in which a vocabulary keeps them.

transformers writes the default one as ``chat_template.jinja`` and the others into a folder; earlier versions
wrote all into tokenizer_config.json, where every version reads them. A vocabulary's files have no folders, so
several are kept there.
"""

from collections.abc import Mapping
from typing import Any

from t5lite.core.storage.addresses import StoragePath

CHAT_TEMPLATE = "chat_template.jinja"
FOLDER = "additional_chat_templates"
_KEY, _DEFAULT, _SUFFIX = "chat_template", "default", ".jinja"

Templates = dict[str, str]
"""By name; that of the default is ``default``."""


def further_files(folder: StoragePath) -> list[str]:
    """Return the templates that lie in a folder of their own beside a tokenizer, as paths from there."""
    there = folder / FOLDER
    names = sorted(file.name for file in there.iterdir()) if there.is_dir() else []
    return [f"{FOLDER}/{name}" for name in names if name.endswith(_SUFFIX)]


def templates(files: Mapping[str, bytes], config: Mapping[str, Any]) -> Templates:
    """Return the templates among the files of a tokenizer, and in its tokenizer_config.json.

    Those in files of their own go before those in tokenizer_config.json, as in transformers: there, one such
    file has all of the latter ignored.
    """
    found = {
        name.rpartition("/")[2].removesuffix(_SUFFIX): content.decode("utf-8", "replace")
        for name, content in files.items()
        if name.startswith(f"{FOLDER}/")
    }
    if CHAT_TEMPLATE in files:
        found = {_DEFAULT: files[CHAT_TEMPLATE].decode("utf-8", "replace"), **found}
    if found:
        return found
    said = config.get(_KEY)
    if isinstance(said, str):
        return {_DEFAULT: said}
    listed = said if isinstance(said, list) else []
    named = [each for each in listed if isinstance(each, dict)]
    return {
        each["name"]: each["template"]
        for each in named
        if isinstance(each.get("name"), str) and isinstance(each.get("template"), str)
    }


def kept(found: Templates) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return how templates are kept, or written: in a file, by name, and in tokenizer_config.json.

    The default one alone has a file; several are in tokenizer_config.json, where every version of
    transformers reads them.
    """
    if found.keys() == {_DEFAULT}:
        return {CHAT_TEMPLATE: found[_DEFAULT].encode()}, {}
    listed = [{"name": name, "template": template} for name, template in found.items()]
    return {}, {_KEY: listed} if listed else {}
