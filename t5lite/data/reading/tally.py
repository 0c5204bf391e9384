"""What reading lost: counted by reason and file, kept in ``prepare.json``, and said once, a line a reason."""

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from t5lite.core.errors import DataError

_FILES_SAID = 3
_PLACES_SAID = 5
_FILES_LISTED = 20
"""Of a reason, the files with the highest counts."""


class Loss(enum.Enum):
    """Why a record is not as it stands in its file, or may not be one, or is not there.

    Each has its name in reports, what is said, and what to do.
    """

    NULL = ("null", "records dropped because their text is null", "")
    MISSING = ("missing", "records dropped because they lack the field", "")
    COLUMNS = (
        "columns",
        "rows dropped for more columns than the first one has, or without those asked for",
        "a text that holds the separator or a line end must stand in quotes",
    )
    NARROW = (
        "narrow",
        "rows with fewer columns than the first one, read as they are",
        "check that no text is broken by a line end outside of quotes",
    )
    QUOTES = (
        "quotes",
        "rows dropped for a quote out of place",
        "a quote within quotes is written twice",
    )
    FIRST_ROW = (
        "first_row",
        "first rows that may be a header, read as data because columns are given by number",
        "if it is one, name the columns by it, or delete it where its names are numbers",
    )
    EMPTY = ("empty", "records dropped because a column that is used is empty", "")
    NOT_THERE = ("not_there", "rows dropped because the answer does not stand in the text", "")
    MISPLACED = (
        "misplaced",
        "rows dropped because an answer does not stand where they say",
        "answer_start counts characters of the context from 0, not bytes or UTF-16 units",
    )
    NO_LABEL = (
        "no_label",
        "rows dropped because they have no label (-1, '-' or NaN)",
        "if all of a split have none, it is a test split that others score: take another",
    )
    UNEVEN = ("uneven", "rows without one tag a word", "correct such rows, or leave them out")
    NUMBER = ("number", "texts that are numbers or booleans, taken as they are written", "")
    INTEGER = ("integer", "targets that are integers or booleans, taken as text", "")
    REPEATED_HEADER = ("repeated_header", "repeated header lines dropped", "")
    INVALID_UTF8 = ("invalid_utf8", "texts with bytes that are not UTF-8, which became U+FFFD", "")

    def __init__(self, label: str, said: str, remedy: str):
        self.label, self.said, self.remedy = label, said, remedy


class Tally:
    """Counts what readers drop or change, by reason and file; one of these goes through all the files."""

    def __init__(self):
        self._counts: dict[str, Counter[str]] = {}
        self._places: dict[str, list[str]] = {}
        self.empty_files: list[str] = []
        """Files that had no text at all, in reading order."""
        self.file = ""
        """The one that is being read."""

    def count(self, loss: Loss, path: object, place: str) -> None:
        """Count one record of the file ``path``; ``place`` says where it stands."""
        self._counts.setdefault(loss.label, Counter())[str(path)] += 1
        places = self._places.setdefault(loss.label, [])
        if len(places) < _PLACES_SAID:
            places.append(place)

    def check(self, loss: Loss) -> None:
        """Check that no record is lost for a reason that ends the reading.

        Raises:
          DataError: if one is, with how many and where the first of them stand.
        """
        if files := self._counts.get(loss.label):
            places, count = self._places[loss.label], files.total()
            more = ", …" if count > len(places) else ""
            raise DataError(f"{loss.said}: {count:,} ({', '.join(places)}{more}); {loss.remedy}")

    def report(self) -> dict[str, dict[str, Any]]:
        """Return for each reason how many records, the first one's place, and the files with most of them."""
        return {
            label: {
                "records": files.total(),
                "first": self._places[label][0],
                "files": len(files),
                "worst_files": dict(files.most_common(_FILES_LISTED)),
            }
            for label, files in self._counts.items()
        }


def merged(reports: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Add up reports of different files."""
    total: dict[str, dict[str, Any]] = {}
    for report in reports:
        for label, counts in report.items():
            entry = total.setdefault(
                label, {"records": 0, "first": counts["first"], "files": 0, "worst_files": {}}
            )
            entry["records"] += counts["records"]
            entry["files"] += counts["files"]
            entry["worst_files"] = dict(
                Counter({**entry["worst_files"], **counts["worst_files"]}).most_common(_FILES_LISTED)
            )
    return total


def messages(report: Mapping[str, Mapping[str, Any]], skipped: Sequence[str] = ()) -> list[str]:
    """Return a line for each reason of a report: how many, where, what to do; and one for files left out."""
    lines = []
    for loss in Loss:
        if counts := report.get(loss.label):
            (worst, most), *others = counts["worst_files"].items()
            files = f"; of {counts['files']:,} files, most of {worst}: {most:,}" if others else ""
            remedy = f"; {loss.remedy}" if loss.remedy else ""
            lines.append(f"{loss.said}: {counts['records']:,} (first: {counts['first']}{files}){remedy}")
    if skipped:
        lines.append(
            f"inputs left out, without text, of another type, or met before: {len(skipped):,} "
            f"({_first(skipped)})"
        )
    return lines


def no_text(files: Sequence[str], tally: Tally | None = None) -> DataError:
    """Return the error for inputs that have no text in any file, with what was lost on the way."""
    lost = "" if tally is None else "".join(f" ({message})" for message in messages(tally.report()))
    verb = "contains" if len(files) == 1 else "contain"
    return DataError(f"{_first(files)} {verb} no text{lost}; check the inputs and how they were made")


def _first(files: Sequence[str]) -> str:
    return ", ".join([*files[:_FILES_SAID], *["…"] * (len(files) > _FILES_SAID)])
