"""Messages are read as they were written, and what is none is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.core.protobuf import field, fields, fixed_field

NUMBERS = st.integers(1, 2**29 - 1)
FIELDS = st.one_of(
    st.tuples(NUMBERS, st.integers(0, 2**64 - 1)).map(lambda given: (*given, field(*given))),
    st.tuples(NUMBERS, st.binary(max_size=300)).map(lambda given: (*given, field(*given))),
    st.tuples(NUMBERS, st.sampled_from([bytes(4), b"12345678"])).map(
        lambda given: (*given, fixed_field(*given))
    ),
)


@given(st.lists(FIELDS, max_size=5))
def test_fields_are_read_in_order_with_what_they_are_made_of(written):
    assert list(fields(b"".join(encoded for *_, encoded in written))) == written


@given(FIELDS, st.data())
def test_a_field_that_is_cut_off_is_refused(written, data):
    encoded = written[2]
    end = data.draw(st.integers(1, len(encoded) - 1))
    with pytest.raises((ValueError, IndexError)):
        list(fields(encoded[:end]))


@pytest.mark.parametrize("message", [b"\x00\x00", b"\x0b", b"\x0c", b"\x08" + b"\x80" * 10**6])
def test_what_no_message_has_is_refused(message):
    with pytest.raises(ValueError, match=r"number 0|wire type|more than 64 bits"):
        list(fields(message))
