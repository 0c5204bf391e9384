"""The page of ``t5lite compare`` in a browser, a phone's width and a desk's: offline, no error, it fits."""

from pathlib import Path

import pytest

from t5lite.cli.main import main
from tests.browser import open_page
from tests.unit.runner.test_comparison import make_run

LONG = "a-run-of-a-very-long-name-without-any-place-to-break-" * 3


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    runs = [
        make_run(folder / f"{LONG}{number}<b>", 8 + 4 * number, 0.9 - 0.05 * number) for number in range(12)
    ]
    output = folder / "page.html"
    assert main(["compare", *runs, "--html", str(output)]) == 0
    return output


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_fits_and_asks_for_nothing(page: Path, width: int):
    opened = open_page(page, width=width)
    found = opened.found
    assert opened.console == []
    assert found["width"] == width
    assert found["scroll"] <= found["client"]
    assert found["refused"] == found["loaded"] == []
    assert found["images"] == 1
