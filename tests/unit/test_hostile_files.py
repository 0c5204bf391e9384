"""Whatever stands in a file that others made, it is read or refused: no crash, no memory without end."""

import os
import subprocess
import sys

import pytest

from tests.hostile_files import KINDS

pytestmark = pytest.mark.slow

EXAMPLES = os.environ.get("T5LITE_HOSTILE_FILES", "15")
"""Of each kind; CI's are the same in every run, more of them may be asked for at a desk."""


@pytest.fixture(scope="module")
def fuzzed() -> subprocess.CompletedProcess[str]:
    """All kinds in one process, which an abort of a library would end."""
    words = [sys.executable, "-m", "tests.hostile_files", EXAMPLES]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.fault(
    "a foreign file (`config.json`, safetensors, `tokenizer.json`, SentencePiece, T5X, tables) "
    "gives absurd counts, sizes or nesting, points outside its folder, or is endless",
    "refused by name before memory is taken for it",
    2,
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused(fuzzed, kind):
    assert f"kept: {kind}\n" in fuzzed.stdout, fuzzed.stdout + fuzzed.stderr[-3000:]
