"""docs/will_it_fit.md is what its generator makes of the kept figures."""

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_page_and_its_pictures_are_generated():
    generator = runpy.run_path(str(ROOT / "benchmarks" / "will_it_fit.py"))
    figures = json.loads(generator["FIGURES"].read_text(encoding="utf-8"))
    assert figures
    for name, text in generator["files"](figures).items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: benchmarks/will_it_fit.py --only"
