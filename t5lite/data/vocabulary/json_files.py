"""The files that describe a tokenizer in JSON."""

from t5lite.core.bounded_reads import read_at_most
from t5lite.core.errors import DataError
from t5lite.core.json_text import parse_json
from t5lite.core.lfs import check_content_is_no_lfs_pointer
from t5lite.core.storage.addresses import StoragePath
from t5lite.data.vocabulary.tokenizer_classes import Json

TOKENIZER_CONFIG = "tokenizer_config.json"
_MAX_BYTES = 256 << 20
"""Of a file of a tokenizer: eight times that of the largest vocabularies there are."""


def read_file(path: StoragePath) -> bytes:
    """Return the content of a file of a tokenizer.

    Raises:
      UserError: if it cannot be read, is too large or was not fetched.
    """
    try:
        content = read_at_most(path, _MAX_BYTES)
    except OSError as error:
        raise DataError(
            f"cannot read the vocabulary {path} ({error.strerror}); give the path of a tokenizer.json"
        ) from error
    check_content_is_no_lfs_pointer(content, path)
    return content


def json_object(content: bytes, path: StoragePath) -> Json:
    """Return the object in a JSON file of a tokenizer.

    Raises:
      DataError: if it is none.
    """
    try:
        value = parse_json(content)
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); fetch it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is damaged (not a JSON object); fetch it again")
    return value
