import itertools
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from t5lite.data.text_cutting import cut_text

MARKED = st.text("ab é\n\t가각\u1100\u1161\u11a8e\u0301\u0e01\u0e31👩\u200d🚀", max_size=200)


@given(st.text(max_size=200) | MARKED, st.integers(1, 60))
def test_nothing_is_lost_and_no_piece_is_too_long(text, max_characters):
    pieces = list(cut_text(text, max_characters))
    assert "".join(pieces) == text
    assert all(len(piece) <= max_characters for piece in pieces)
    assert all(pieces) or not text


@given(MARKED, st.integers(8, 60))
def test_cuts_are_at_white_space_or_in_a_stretch_without_any(text, max_characters):
    pieces = list(cut_text(text, max_characters))
    for piece, following in itertools.pairwise(pieces):
        assert following[0].isspace() or not any(map(str.isspace, piece[1:]))


@given(st.lists(st.sampled_from(["a", "e\u0301", "\u1100\u1161\u11a8", "\u0e01\u0e31", "👩\u200d🚀"])))
def test_no_character_is_cut(characters):
    whole = "".join(characters)
    pieces = list(cut_text(whole, 10))
    normalised = (unicodedata.normalize("NFKC", piece) for piece in pieces)
    assert "".join(normalised) == unicodedata.normalize("NFKC", whole)
    assert not any(piece[0] in "\u0301\u1161\u11a8\u0e31\u200d🚀" for piece in pieces if piece)
