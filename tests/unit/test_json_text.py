"""JSON and files of unknown origin: how deep, and how large."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core.bounded_reads import read_at_most
from t5lite.core.json_text import load_json, parse_json


def nested(depth: int, inner: str) -> str:
    lists, objects = depth // 2, depth - depth // 2
    return "[" * lists + '{"a":' * objects + inner + "}" * objects + "]" * lists


_SCALARS = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_what_people_write_is_read(value):
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize("depth", [65, 900, 100_000])
def test_what_would_exhaust_the_stack_is_refused(depth):
    """At 900 Python reads it, and whoever walks through it or prints it fails."""
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(nested(depth, "1"))


def test_a_file_is_read_up_to_its_largest_size(tmp_path):
    (tmp_path / "a.json").write_text(nested(64, '"x"'))
    assert load_json(tmp_path / "a.json") == json.loads(nested(64, '"x"'))
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(1 << 40)
    (tmp_path / "zero").symlink_to("/dev/zero")
    refusals = {"sparse": "more than 2 MiB", "zero": "a pipe, a socket or a device"}
    for endless, refusal in ((tmp_path / name, refusal) for name, refusal in refusals.items()):
        with pytest.raises(OSError, match=refusal) as caught:
            read_at_most(endless, 2 << 20)
        assert caught.value.filename == str(endless)
