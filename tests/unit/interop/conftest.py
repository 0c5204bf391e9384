"""What the tests of Hugging Face folders share."""

from typing import Any

import pytest

from t5lite.interop.huggingface import stored_tensors as stored


@pytest.fixture
def no_weights_read(monkeypatch) -> None:
    """Every value that is read fails the test: what is refused is refused by what headers say."""

    def read(*_: Any) -> None:
        pytest.fail("a tensor was read")

    monkeypatch.setattr(stored.Stored, "whole", property(read))
    monkeypatch.setattr(stored, "read_entry", read)
