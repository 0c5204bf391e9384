"""What preparing notes of each input file: unknown tokens, and the longest document."""

from collections.abc import Iterable
from dataclasses import dataclass

from t5lite.data.reading.input_files import input_format
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
        found = {
            path: file.longest
            for path, file in self._files.items()
            if input_format(path) == ".txt" and file.longest >= LONG_DOCUMENT_TOKENS
        }
        if not found or txt_documents == "piece":
            return None
        longest = max(found, key=lambda path: found[path])
        remedy = "--txt-documents piece cuts the text every 16,000 characters"
        if txt_documents == "paragraph":
            remedy = (
                f"a document ends at a blank line: --txt-documents line ends it at every line, and {remedy}"
            )
        return (
            f"warning: {len(found):,} of the .txt files hold a document of {LONG_DOCUMENT_TOKENS:,} tokens "
            f"or more, the longest {found[longest]:,} in {longest}; {remedy}"
        )
