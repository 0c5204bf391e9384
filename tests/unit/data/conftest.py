"""A tiny vocabulary and stores of made-up prose."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from t5lite.data.prepare import write_pair_store, write_text_store
from t5lite.data.vocabulary import SentencePieceVocabulary, Vocabulary, train_vocabulary

_SYLLABLES = ["ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "za"]


def _prose(num_documents: int, *, seed: int, words: tuple[int, int] = (3, 40)) -> list[str]:
    generator = random.Random(seed)
    lexicon = ["".join(generator.choices(_SYLLABLES, k=generator.randint(1, 4))) for _ in range(300)]
    return [
        f"{' '.join(generator.choices(lexicon, k=generator.randint(*words)))} {number}."
        for number in range(num_documents)
    ]


@pytest.fixture(scope="session")
def prose() -> Callable[..., list[str]]:
    return _prose


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory) -> Vocabulary:
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    train_vocabulary(_prose(300, seed=0), path, size=150)
    return SentencePieceVocabulary(path)


@pytest.fixture(scope="session")
def text_store(tmp_path_factory, vocabulary) -> Path:
    path = tmp_path_factory.mktemp("text") / "train"
    write_text_store(_prose(200, seed=1), vocabulary, path)
    return path


@pytest.fixture(scope="session")
def pair_store(tmp_path_factory, vocabulary) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "train"
    inputs, targets = _prose(60, seed=2, words=(2, 20)), _prose(60, seed=3, words=(1, 12))
    write_pair_store(zip(inputs, targets, strict=True), vocabulary, path)
    return path
