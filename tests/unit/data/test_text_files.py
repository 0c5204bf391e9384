import gzip
import json
import lzma

import pytest
import zstandard

from t5lite.core.errors import DataError
from t5lite.data.reading.text_files import PIECE_CHARACTERS, read_pairs, read_texts

COMPRESS = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: zstandard.ZstdCompressor().compress(content),
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("ending", COMPRESS)
def test_every_format_and_compression(tmp_path, ending):
    compress = COMPRESS[ending]
    txt = write(tmp_path / f"a.txt{ending}", compress(b"\xef\xbb\xbfone\r\ntwo\r\n\r\n\n three \n"))
    jsonl = write(tmp_path / f"b.jsonl{ending}", compress('{"text": "vier"}\n\n{"text": "fünf"}'.encode()))
    assert list(read_texts([txt, jsonl])) == ["one\ntwo", " three ", "vier", "fünf"]
    assert list(read_texts([txt], txt_documents="line")) == ["one", "two", " three "]


def test_tsv_columns_by_number_and_by_name(tmp_path):
    plain = write(tmp_path / "plain.tsv", "x\tone\tuno\n\ny\ttwo\tdos\n")
    named = write(tmp_path / "named.tsv", "en\tes\none\tuno\n")
    assert list(read_texts([plain], field="1")) == ["one", "two"]
    assert list(read_pairs([plain], inputs_field="2", targets_field="1")) == [("uno", "one"), ("dos", "two")]
    assert list(read_pairs([named], inputs_field="en", targets_field="es")) == [("one", "uno")]


def test_two_zstd_frames_are_one_file(tmp_path):
    compressor = zstandard.ZstdCompressor()
    path = write(tmp_path / "a.txt.zst", compressor.compress(b"one\n\n") + compressor.compress(b"two"))
    assert list(read_texts([path])) == ["one", "two"]


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_truncated_and_mislabelled_compression(tmp_path, ending):
    content = COMPRESS[ending](b"".join(b"%d line\n\n" % (i * 7919) for i in range(5000)))
    path = write(tmp_path / f"a.txt{ending}", content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.txt.* is damaged or not really"):
        list(read_texts([path]))
    path = write(tmp_path / f"b.txt{ending}", b"plain text")
    with pytest.raises(DataError, match="is damaged or not really"):
        list(read_texts([path]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"a\.txt contains no text"),
        ("a.txt", b"\n \n\n", r"a\.txt contains no text"),
        ("a.tsv", b"text\n", r"a\.tsv contains no text"),
        ("a.txt", b"one\n\x00\x01", r"a\.txt:2 contains a NUL byte"),
        ("a.txt", b"one\ntw\xff\n", r"a\.txt:2 is not valid UTF-8 \(0xff is byte 3\)"),
        ("a.jsonl", b'{"txt": "b"}', r"a\.jsonl:1 has no field 'text'; it has 'txt'"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ', r"a\.jsonl:2 is not valid JSON"),
        ("a.jsonl", b'["text"]', r"a\.jsonl:1 is a JSON list"),
        ("a.jsonl", b'{"text": 3}', r"a\.jsonl:1 field 'text' is of type int, not a string"),
        ("a.jsonl", b'{"text": "\\ud800"}', r"a\.jsonl:1 escapes a lone surrogate \(\\ud800\)"),
        ("a.tsv", b"en\tes\n", r"a\.tsv:1 has no column 'text' in its header \('en', 'es'\)"),
        ("a.csv", b"text,x,text\na,b,c", r"a\.csv:1 has 2 columns 'text' in its header; rename all but one"),
        ("a.tsv", b"text\tx\none\n\nz", None),
        ("a.pdf", b"text", r"a\.pdf has an unknown type; allowed: \.txt"),
    ],
)
def test_what_cannot_be_read_names_file_and_line(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    if message is None:
        assert list(read_texts([path])) == ["one", "z"]
        return
    with pytest.raises(DataError, match=message):
        list(read_texts([path]))


def test_short_tsv_line(tmp_path):
    path = write(tmp_path / "a.tsv", "a\tb\nc\n")
    assert list(read_pairs([path], inputs_field="0", targets_field="1")) == [("a", "b")]
    with pytest.raises(DataError, match=r"a\.tsv:1 has 2 columns, column 2"):
        list(read_pairs([path], inputs_field="0", targets_field="2"))


def test_invalid_utf8_is_replaced_by_option(tmp_path):
    text = write(tmp_path / "a.txt", b"tw\xff o")
    escaped = write(tmp_path / "b.jsonl", json.dumps({"text": "a\ud800b"}))
    assert list(read_texts([text, escaped], on_invalid_utf8="replace")) == ["tw� o", "a�b"]


def test_text_has_no_fields_for_pairs(tmp_path):
    with pytest.raises(DataError, match="no fields"):
        list(read_pairs([write(tmp_path / "a.txt", "four")]))


def test_progress_adds_up_to_the_file(tmp_path):
    path = write(tmp_path / "a.txt.gz", gzip.compress(b"one\n\ntwo\n" * 1000))
    counts = []
    list(read_texts([path], progress=counts.append))
    assert sum(counts) == path.stat().st_size


def test_reading_is_streamed_and_an_endless_paragraph_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt", b"line\n\n" + b"no blank line\n" * 100_000)
    monkeypatch.setattr("t5lite.data.reading.text_files.MAX_DOCUMENT_BYTES", 1000)
    counts = []
    texts = read_texts([path], progress=counts.append)
    assert next(texts) == "line"
    assert sum(counts) < path.stat().st_size
    with pytest.raises(DataError, match=r"a\.txt:\d+: no blank line .* --txt-documents line"):
        next(texts)


def test_a_text_of_one_long_line_is_cut_into_pieces_by_option(tmp_path, monkeypatch):
    words = [f"wörd{n}" for n in range(20_000)]
    path = write(tmp_path / "a.txt", "\ufeff" + " ".join(words))
    pieces = list(read_texts([path], txt_documents="piece"))
    assert " ".join(pieces).split() == words
    assert all(PIECE_CHARACTERS - 20 < len(piece) <= PIECE_CHARACTERS for piece in pieces[:-1])
    monkeypatch.setattr("t5lite.data.reading.lines.MAX_DOCUMENT_BYTES", 1 << 16)
    with pytest.raises(DataError, match=r"a\.txt:1 is a line of more .*pass --txt-documents piece"):
        list(read_texts([path]))
    unbroken = write(tmp_path / "b.txt", "é" * 40_000)
    assert "".join(read_texts([unbroken], txt_documents="piece")) == "é" * 40_000
    for content, message in (
        (b"a\xff", "not valid UTF-8"),
        (b"a\0", "NUL byte"),
        (b"  ", "contains no text"),
    ):
        with pytest.raises(DataError, match=message):
            list(read_texts([write(tmp_path / "c.txt", content)], txt_documents="piece"))
