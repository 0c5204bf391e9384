"""Laws of text that is shown while it is written, over every kind of vocabulary."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.data.vocabulary import ByteVocabulary, SentencePieceVocabulary, open_vocabulary, train_vocabulary
from t5lite.decoding.streamed_text import StreamedText, first_stop
from tests.small_tokenizers import write_bpe, write_bpe_with_byte_fallback, write_gemma, write_wordpiece

TEXTS = ["en el principio", "y vio dios que la luz era buena y aparto dios la luz", "la tierra"]
KINDS = ["bytes", "sentencepiece", "byte-level bpe", "wordpiece", "llama", "gemma"]


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabularies")
    train_vocabulary(TEXTS, folder / "spiece.model", size=24)
    return dict(
        zip(
            KINDS,
            (
                ByteVocabulary(extra_ids=4),
                SentencePieceVocabulary(folder / "spiece.model", extra_ids=4),
                open_vocabulary(write_bpe(folder / "bpe", TEXTS)),
                open_vocabulary(write_wordpiece(folder / "wordpiece", TEXTS)),
                open_vocabulary(write_bpe_with_byte_fallback(folder / "llama", TEXTS)),
                open_vocabulary(write_gemma(folder / "gemma", TEXTS)),
            ),
            strict=True,
        )
    )


class Tokens(list):
    """A vocabulary of texts."""

    def decode(self, ids):
        return "".join(self[number] for number in ids)

    def num_open(self, ids):
        return 0


def streamed(vocabulary, ids, stops=()) -> tuple[list[str], StreamedText]:
    text = StreamedText(vocabulary, stops)
    pieces = [text.add(token) for token in ids]
    return [*pieces, text.finish()], text


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_pieces_are_the_text_and_none_ends_within_a_character(kind, vocabularies, data):
    """Of any ids, also bytes that are no characters, up to the stop string that is complete first."""
    vocabulary = vocabularies[kind]
    ids = data.draw(
        st.one_of(
            st.lists(st.integers(0, vocabulary.size - 1), max_size=12),
            st.text(max_size=6).map(lambda text: vocabulary.encode(text).tolist()[:-1]),
        )
    )
    whole = vocabulary.decode(ids)
    places = st.integers(0, max(0, len(whole) - 1))
    stops = data.draw(st.lists(places.map(lambda place: whole[place : place + 2]), max_size=2))
    pieces, text = streamed(vocabulary, ids, stops)
    end = first_stop(whole, stops)
    assert "".join(pieces) == text.text == whole[:end]
    assert text.stopped == (end is not None)
    # A stop string may begin amid what is no text, and so end a piece there.
    halves = [piece for piece in pieces[:-1] if piece.endswith("\N{REPLACEMENT CHARACTER}")]
    assert text.stopped or not halves


@pytest.mark.parametrize("kind", KINDS)
def test_characters_of_several_tokens_come_whole(kind, vocabularies):
    vocabulary = vocabularies[kind]
    ids = vocabulary.encode("dios 🤖日 é").tolist()
    pieces, _ = streamed(vocabulary, ids)
    assert kind == "wordpiece" or len([piece for piece in pieces if piece]) > 3
    assert "".join(pieces) == vocabulary.decode(ids)
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)


@given(
    text=st.text("ab\n", max_size=12),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=3), max_size=3),
    cuts=st.lists(st.integers(0, 12), max_size=6),
)
def test_a_stop_string_ends_the_text_however_it_is_cut_into_tokens(text, stops, cuts):
    """Tokens are pieces of any size: what is shown is the text before the stop that is complete first."""
    places = sorted({0, len(text), *(cut for cut in cuts if cut <= len(text))})
    tokens = [text[start:end] for start, end in itertools.pairwise(places)]

    pieces, streaming = streamed(Tokens(tokens), range(len(tokens)), stops)
    begun = [
        size - len(stop)
        for size in range(len(text) + 1)
        for stop in sorted(stops, key=len, reverse=True)
        if text[:size].endswith(stop)
    ]
    assert "".join(pieces) == (text[: begun[0]] if begun else text)
    assert streaming.stopped == bool(begun)
    assert first_stop(text, stops) == (begun[0] if begun else None)


def test_what_may_become_a_stop_string_waits():
    tokens = Tokens(["go E", "N", "T\n", "x", "\n", "\n", "never"])
    text = StreamedText(tokens, ["END", "\n\n"])
    assert [text.add(number) for number in range(len(tokens))] == [
        "go ", "", "ENT", "\nx", "", "", "",
    ]  # fmt: skip
    assert text.stopped
    assert text.finish() == ""
    assert text.text == "go ENT\nx"
