import pytest
from tiny_training import build


@pytest.fixture(scope="session")
def tiny():
    """The tiny model, its optimizer and its compiled step, with dropout."""
    return build()
