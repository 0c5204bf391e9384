import gzip

import pytest

from data_pipelines.cleaning import ReadDocuments
from data_pipelines.reading import html_text, read_documents
from t5lite.core.errors import DataError
from t5lite.data.reading.record_texts import FileReading

PAGE = """<!doctype html><html><head><title>Title</title><style>p {color: red}</style></head>
<body><h1>A heading</h1><script>var x = "<p>";</script>
<p>One &amp; two,<br>three <b>bold</b>
words.</p><ul><li>first<li>second</ul></body></html>"""
TEXT = "A heading\nOne & two,\nthree bold words.\nfirst\nsecond"


def documents(path, **options):
    return read_documents(FileReading(path=str(path)), **options)


def archive(records) -> bytes:
    """Return a .warc.gz: a gzip member for each record, as crawlers write them."""
    members = []
    for kind, content_type, content in records:
        if kind == "response":
            content = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode() + content
            content_type = "application/http; msgtype=response"
        headers = [
            "WARC/1.0",
            f"WARC-Type: {kind}",
            "WARC-Target-URI: http://a.org",
            "WARC-Record-ID: <urn:1>",
        ]
        headers += ["WARC-Date: 2026-01-01T00:00:00Z", f"Content-Type: {content_type}"]
        headers += [f"Content-Length: {len(content)}", "", ""]
        members.append(gzip.compress("\r\n".join(headers).encode() + content + b"\r\n\r\n"))
    return b"".join(members)


def test_html_becomes_lines_of_blocks():
    assert html_text(PAGE) == TEXT
    assert html_text(PAGE.replace("</head>", "")) == TEXT
    assert html_text("plain") == "plain"


def test_web_archives(tmp_path):
    wet = tmp_path / "a.warc.wet.gz"
    conversions = [
        ("warcinfo", "application/warc-fields", b"software: x"),
        ("conversion", "text/plain", "Grüße\nvon hier".encode()),
        ("conversion", "text/plain", b"bad \xff byte"),
        ("conversion", "text/plain", b"  "),
    ]
    wet.write_bytes(archive(conversions))
    assert list(documents(wet)) == ["Grüße\nvon hier", "bad \ufffd byte"]
    warc = tmp_path / "a.warc.gz"
    responses = [
        ("response", "text/html; charset=utf-8", PAGE.encode()),
        ("response", "text/html; charset=latin-1", "<p>Grüße</p>".encode("latin-1")),
        ("response", "text/html; charset=nonsense", "<p>Grüße</p>".encode()),
        ("response", "image/png", b"\x89PNG"),
    ]
    warc.write_bytes(archive(responses))
    assert list(documents(warc)) == [TEXT, "Grüße", "Grüße"]


def test_what_is_no_archive(tmp_path):
    path = tmp_path / "a.warc.gz"
    path.write_bytes(gzip.compress(b"no archive\n\nat all"))
    with pytest.raises(DataError, match=r"a\.warc\.gz is damaged or no WARC file"):
        list(documents(path))
    with pytest.raises(DataError, match=r"b\.wet cannot be read"):
        list(documents(tmp_path / "b.wet"))


def test_other_files_are_read_as_prepare_does(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo")
    assert list(documents(tmp_path / "a.txt")) == ["one", "two"]
    assert list(documents(tmp_path / "a.txt", txt_documents="piece")) == ["one\n\ntwo"]


def test_the_longest_document_of_each_file_is_noted(tmp_path):
    (tmp_path / "a.txt").write_text("ba\n\nkélimo\n\nse")
    read = ReadDocuments(
        folder=str(tmp_path / "read"),
        groups={"00000": (str(tmp_path / "a.txt"),)},
        field="text",
        txt_documents="paragraph",
        on_invalid_utf8="error",
    )
    (file,) = read("00000")["files"].values()
    assert (file["documents"], file["longest_bytes"]) == (3, len("kélimo".encode()))
