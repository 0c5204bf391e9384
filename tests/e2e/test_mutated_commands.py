"""No traceback for anything a user typed or brought, and nothing half-written by a command that refuses."""

import contextlib
import io
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from t5lite.cli.main import main
from t5lite.core.written_files import LIST
from tests.e2e import mutations
from tests.e2e.mutations import (
    COMMANDS,
    DAMAGE,
    HOSTILE,
    READING,
    VALUES,
    Dropped,
    Inserted,
    Replaced,
    Rewritten,
    files_read,
)

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("T5LITE_MUTATIONS", "40"))
"""Of each property; CI's are the same in every run, more of them may be asked for at a desk."""

_PLACES = st.integers(0, 30)
WORDS = st.one_of(
    st.builds(Replaced, _PLACES, st.sampled_from(HOSTILE)),
    st.builds(Inserted, _PLACES, st.sampled_from(HOSTILE)),
    st.builds(Dropped, _PLACES),
)
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a command takes too long to look for the smallest failure
)


class Reached(Exception):
    """Everything was accepted, and the long work would begin."""


@pytest.fixture(scope="module")
def world(
    text_data: Path, pretrained: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "whole"
    mutations.build(folder, text_data=text_data, run=pretrained, exported=exported)
    return folder


@pytest.fixture(scope="module", autouse=True)
def long_work_is_not_done():
    def reached(*_, **__):
        raise Reached

    with pytest.MonkeyPatch.context() as patch:
        for name in mutations.REACHED:
            patch.setattr(name, reached)
        yield


@contextlib.contextmanager
def copy_of(world: Path):
    """The current directory is a copy of the world, which is gone afterwards."""
    copy = Path(shutil.copytree(world, world.parent / "copy", symlinks=True))
    try:
        with contextlib.chdir(copy):
            yield copy
    finally:
        shutil.rmtree(copy)


def check(words: list[str], folder: Path) -> int | None:
    """Run a command and check how it ends; return its exit code, None where the long work was reached."""
    before = mutations.snapshot(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except Reached:
            return None
    after = mutations.snapshot(folder)
    said = err.getvalue()
    assert code in (0, 2, 3), (code, said)
    assert "Traceback" not in said
    hidden = [name for name in after.keys() - before.keys() if Path(name).name.startswith(".")]
    assert {Path(name).name for name in hidden} <= {LIST}, hidden
    if code == 2:
        assert after == before, sorted(after.keys() ^ before.keys())
        *_, line, end = said.split("\n")
        line = line.rpartition("\r")[2].strip()
        assert end == ""
        assert re.match(rf"t5lite( {words[0]})?: .{{10}}", line), said
    return code


@pytest.mark.parametrize("name", COMMANDS)
def test_the_calls_work(name: str, world: Path):
    with copy_of(world) as folder:
        assert check(COMMANDS[name], folder) in (None, 2 if name in ("report", "fewer steps") else 0)


@bounded
@given(name=st.sampled_from(sorted(COMMANDS)), mutation=WORDS)
def test_mutated_words(name: str, mutation, world: Path):
    with copy_of(world) as folder:
        check(mutation(COMMANDS[name]), folder)


@bounded
@given(data=st.data(), name=st.sampled_from(sorted(READING)), damage=st.sampled_from(sorted(DAMAGE)))
def test_damaged_files(data, name: str, damage: str, world: Path):
    with copy_of(world) as folder:
        file = data.draw(st.sampled_from(files_read(COMMANDS[name], folder)))
        DAMAGE[damage](folder / file)
        check(COMMANDS[name], folder)


_READING_JSON = READING - {"prepare text", "prepare files", "prepare pairs", "compile"}


@bounded
@given(data=st.data(), name=st.sampled_from(sorted(_READING_JSON)), value=st.sampled_from(VALUES))
def test_rewritten_json(data, name: str, value, world: Path):
    with copy_of(world) as folder:
        file = data.draw(st.sampled_from(files_read(COMMANDS[name], folder, suffix=".json")))
        Rewritten(data.draw(st.integers(0, 999)), value)(folder / file)
        check(COMMANDS[name], folder)
