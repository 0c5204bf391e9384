"""A small crawl of made-up prose, and a vocabulary for it."""

import json
from pathlib import Path

import pytest

from t5lite.data.vocabulary import train_vocabulary
from tests.data_pipelines.pages import page, pages


@pytest.fixture(scope="session")
def crawl(tmp_path_factory) -> Path:
    """A folder of three files."""
    texts = pages(120)
    folder = tmp_path_factory.mktemp("crawl")
    for number in range(3):
        lines = [json.dumps({"text": text}) for text in texts[number * 40 : (number + 1) * 40]]
        (folder / f"{number}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    train_vocabulary([page(seed) for seed in range(100)], path, size=120)
    return str(path)
