"""The table of docs/reliability.md, made of the tests: ``python -m tests.reliability_table`` writes it anew.

A test that shows what becomes of a fault says so by ``@pytest.mark.fault(fault, result, exit code)``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"
_FIRST, _LAST = "| fault | what happens | exit code | test |", "\n\n"


class Fault(NamedTuple):
    """One row."""

    what: str
    result: str
    exit_code: int | str
    test: Path
    line: int


def faults() -> Iterator[Fault]:
    """Yield what the tests say, in the order of files and lines."""
    for path in sorted(TESTS.rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.fault" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                what, result, exit_code = map(ast.literal_eval, node.args)
                yield Fault(what, result, exit_code, path, node.lineno)


def table() -> str:
    """Return the table in Markdown."""
    rows = [
        f"| {fault.what} | {fault.result} | {fault.exit_code} | [{fault.test.stem.removeprefix('test_')}]"
        f"(../{fault.test.relative_to(TESTS.parent).as_posix()}) |"
        for fault in sorted(faults(), key=lambda fault: (fault.test, fault.line))
    ]
    return "\n".join([_FIRST, "|---|---|---|---|", *rows])


def page() -> str:
    """Return the page with the table as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_FIRST)
    return before + table() + _LAST + rest.partition(_LAST)[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
