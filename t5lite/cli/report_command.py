"""``t5lite report``: make a quickstart's report again from its results."""

from collections.abc import Sequence
from dataclasses import dataclass

from t5lite.core import command_line
from t5lite.core.home import expand_fields
from t5lite.core.storage.addresses import place
from t5lite.quickstart.report import terminal_table, write_report
from t5lite.quickstart.results import load_results


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write report.html and plots again from results.json."""

    directory: str = "t5lite-quickstart"
    """Directory of the quickstart."""

    def __post_init__(self):
        expand_fields(self, "directory")


def run(arguments: Sequence[str]) -> int:
    """Write the report and print its table."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite report")
    directory = place(parsed.directory)
    results = load_results(directory / "results.json")
    report = write_report(results, directory)
    print(terminal_table(results))
    print(f"\n{report}")
    return 0
