"""The report of a real run and of a table, in a browser, a phone's width and a desk's: offline, no error."""

import re
from pathlib import Path

import pytest

from t5lite.cli.main import main
from tests.browser import open_page
from tests.unit.scaling.simulated import isoflops

WORDS = {"steps": "over-steps", "tokens": "over-tokens", "FLOPs": "over-flops", "hours": "over-hours"}


@pytest.fixture(scope="module")
def page(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    runs = isoflops(noise=0.003, num_budgets=4, sizes=5)
    table = folder / ("a table with a very long name that goes on and on " * 3 + ".csv")
    rows = zip(runs.params, runs.tokens, runs.loss, strict=True)
    lines = [f"{'<i>' + 'run' * 30}{place},{n},{d},{loss}\n" for place, (n, d, loss) in enumerate(rows)]
    table.write_text("run,N,D,L\n" + "".join(lines))
    output = folder / "out"
    words = [*("report", str(pretrained), str(table), "--output", str(output), "--fit-below", "9e20")]
    assert main([*words, "--methods", "isoflop", "chinchilla", "--resamples", "20"]) == 0
    return output / "report.html"


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_fits_asks_for_nothing_and_lets_choose(page: Path, width: int):
    opened = open_page(page, width=width)
    found = opened.found
    assert opened.console == []
    assert found["width"] == width
    assert found["scroll"] <= found["client"]
    assert found["refused"] == found["loaded"] == []
    assert found["svgs"] == len(list(page.parent.glob("*.png"))) == 9
    assert found["choices"] == {"": ["over-steps"]} | {word: [shown] for word, shown in WORDS.items()}


@pytest.mark.slow
def test_the_probe_sees_what_it_is_to_see(page: Path, tmp_path: Path):
    """A page that is too wide, asks for an image and writes an error is found out."""
    text = page.read_text(encoding="utf-8")
    spoilt = '<img src="https://example.com/x.png"><div style="width:2000px">wide</div></main>'
    text = re.sub("</main>", spoilt, text)
    (tmp_path / "spoilt.html").write_text(text.replace("#over-tokens:checked", "#over-nothing:checked"))
    opened = open_page(tmp_path / "spoilt.html", width=390)
    assert opened.found["scroll"] > opened.found["client"]
    assert opened.found["refused"]
    assert opened.console
    assert opened.found["choices"]["tokens"] == []
