"""What preparing notes of each input file: unknown tokens, and the longest document."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from t5lite.data.reading.input_files import FORMATS, WEB_ARCHIVE, input_format
from t5lite.data.reading.text_files import TxtDocuments
from t5lite.data.stores.store_sinks import TokenCounts

LONG_DOCUMENT_TOKENS = 100_000
"""Tokens, those of a novel, from which on a document of a .txt file is said to be long."""
_FILES_LISTED = 20


@dataclass
class _File:
    tokens: int = 0
    unknown: int = 0
    longest: int = 0


class FileCounts:
    """Adds up the tokens of each file's documents."""

    def __init__(self):
        self._files: dict[str, _File] = {}

    def add(self, paths: Iterable[str], counts: TokenCounts) -> None:
        """Take the counts of documents, or pairs, and the file that each is from."""
        for path, tokens, unknown in zip(paths, counts.tokens.tolist(), counts.unknown.tolist(), strict=True):
            file = self._files.setdefault(path, _File())
            file.tokens += tokens
            file.unknown += unknown
            file.longest = max(file.longest, tokens)

    def most_unknown(self) -> dict[str, dict[str, int]]:
        """Return tokens and unknown tokens of the files with unknown ones, the highest share first."""
        found = [(path, file) for path, file in self._files.items() if file.unknown]
        found.sort(key=lambda item: -item[1].unknown / item[1].tokens)
        return {
            path: {"tokens": file.tokens, "unknown": file.unknown} for path, file in found[:_FILES_LISTED]
        }

    def long_documents(self, txt_documents: TxtDocuments) -> str | None:
        """Return what to say of .txt files that have a document of ``LONG_DOCUMENT_TOKENS`` or more."""
        longest = {path: file.longest for path, file in self._files.items()}
        return long_documents_warning(longest, txt_documents, least=LONG_DOCUMENT_TOKENS, unit="tokens")


def long_documents_warning(
    longest: Mapping[str, int], txt_documents: TxtDocuments, *, least: int, unit: str
) -> str | None:
    """Return what to say of .txt files whose longest document has ``least`` or more of a unit, with a remedy.

    Args:
      longest: by file, the length of its longest document in ``unit``.
      txt_documents: what a document of these files is.
      least: the length from which on it is said.
      unit: of the lengths, in the plural.
    """
    found = {
        path: length
        for path, length in longest.items()
        if length >= least and input_format(path, (*FORMATS, WEB_ARCHIVE)) == ".txt"
    }
    if not found or txt_documents == "piece":
        return None
    where = max(found, key=lambda path: found[path])
    remedy = "--txt-documents piece cuts the text every 16,000 characters"
    if txt_documents == "paragraph":
        remedy = f"a document ends at a blank line: --txt-documents line ends it at every line, and {remedy}"
    return (
        f"warning: {len(found):,} of the .txt files hold a document of {least:,} {unit} or more, the longest "
        f"{found[where]:,} in {where}; {remedy}"
    )
