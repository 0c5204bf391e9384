"""Vectors of texts in files: one of each, in order, whatever holds the texts and wherever it was cut off."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from t5lite.cli import embed_command
from t5lite.cli.main import main
from t5lite.core.storage.addresses import place
from t5lite.runner.embedding import Embedding
from tests.e2e.conftest import Refused, write

TEXTS = ["It is a truth", "", "Straße, 日本 🤖", "Elizabeth " * 300, "It is a truth", " \t"]


@pytest.mark.slow
def test_every_text_has_its_vector_whatever_holds_it(pretrained: Path, tmp_path: Path, capsys):
    write(tmp_path / "in.txt", "\n".join(TEXTS))
    write(tmp_path / "in.jsonl", "\n".join(json.dumps({"id": 1, "question": text}) for text in TEXTS))
    pyarrow.parquet.write_table(pyarrow.table({"question": TEXTS}), tmp_path / "in.parquet")
    embed = ["embed", "--run", str(pretrained), "--batch-size", "2"]
    for ending, to in (("txt", "npy"), ("jsonl", "parquet"), ("parquet", "npy")):
        field = [] if ending == "txt" else ["--field", "question"]
        files = [str(tmp_path / f"in.{ending}"), "--output-file", str(tmp_path / f"{ending}.{to}")]
        assert main([*embed, *field, "--input-file", *files]) == 0
        said = capsys.readouterr().err
        assert "1 of 6 texts have more than 512 tokens and lose their end (the longest has" in said
        assert "2 of 6 texts are blank: their vectors are zeros" in said
    table = pyarrow.parquet.read_table(tmp_path / "jsonl.parquet")
    assert table["text"].to_pylist() == TEXTS
    found_ND = np.load(tmp_path / "txt.npy")
    assert found_ND.dtype == np.float32
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), found_ND)
    np.testing.assert_array_equal(np.load(tmp_path / "parquet.npy"), found_ND)
    np.testing.assert_allclose(np.linalg.norm(found_ND, axis=1), [1, 0, 1, 1, 1, 0], rtol=1e-5)
    np.testing.assert_allclose(found_ND[0], found_ND[4], atol=1e-6)


@pytest.fixture
def numbered(monkeypatch):
    """Embedding that gives text n the vector [n, n], and is killed at the text that says so."""
    killed = "c"

    def start(run, texts, **_):
        def vectors():
            for text in texts:
                if text == killed:
                    raise KeyboardInterrupt
                yield np.full(2, ord(text), np.float32)

        return Embedding(vectors(), 2, "mean", 40, 8, None, (1,) * len(texts))

    def revive():
        nonlocal killed
        killed = ""

    monkeypatch.setattr(embed_command, "start_embedding", start)
    return revive


@pytest.mark.parametrize("torn", [b"", b"\0\0\0"])
def test_a_matrix_goes_on_where_it_was_cut_off(torn, numbered, tmp_path: Path, capsys):
    out, part = tmp_path / "out.npy", tmp_path / "out.npy.part"
    embed = ["embed", "--run", "run", "--output-file", str(out), "--text", *"abcde", "--batch-size", "1"]
    assert main(embed) == 130
    assert "out.npy.part; the same command goes on after them" in capsys.readouterr().err
    part.write_bytes(part.read_bytes() + torn)
    numbered()
    assert main([*embed, "--pooling", "last"]) == 2
    assert "cut off, of other options" in capsys.readouterr().err
    assert main(embed) == 0
    assert "2 outputs are in " in capsys.readouterr().err
    np.testing.assert_array_equal(np.load(out), np.array([[ord(text)] * 2 for text in "abcde"], np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["out.npy"]


@pytest.mark.parametrize("torn", [b"", b"\0\0\0"])
def test_a_matrix_in_a_bucket_goes_on_where_it_was_cut_off(torn, gcs, numbered, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = place(f"{gcs}/embed{len(torn)}")
    (folder / "in.txt").write_text("\n".join("abcde"))
    files = ["--input-file", str(folder / "in.txt"), "--output-file", str(folder / "out.npy")]
    embed = ["embed", "--run", f"{gcs}/run", *files, "--batch-size", "1"]
    assert main(embed) == 130
    part = folder / "out.npy.part"
    part.write_bytes(part.read_bytes() + torn)
    numbered()
    assert main(embed) == 0
    found = np.load(io.BytesIO((folder / "out.npy").read_bytes()))
    np.testing.assert_array_equal(found, np.array([[ord(text)] * 2 for text in "abcde"], np.float32))
    assert sorted(path.name for path in folder.iterdir()) == ["in.txt", "out.npy"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [None, -16, -23, 20])
def test_it_is_whole_wherever_it_was_cut_off(end, numbered, tmp_path: Path):
    """With all vectors there, without the last ones, within one, and within the header."""
    out, part = tmp_path / "out.npy", tmp_path / "out.npy.part"
    embed = ["embed", "--run", "run", "--output-file", str(out), "--text", *"abcde", "--batch-size", "1"]
    assert main(embed) == 130
    vectors = np.array([[ord(text)] * 2 for text in "abcde"], np.float32)
    np.save(tmp_path / "whole.npy", vectors)
    whole = (tmp_path / "whole.npy").read_bytes()
    part.write_bytes(whole[:end])
    numbered()
    assert main(embed) == 0
    assert out.read_bytes() == whole


@pytest.mark.parametrize(
    ("length", "trained", "said"),
    [
        (8, None, "2 of 3 texts have more than 8 tokens and lose their end (the longest has 20); --max"),
        (8, 8, "--max-length 20 takes all of them; texts of the training had 8 at most\n"),
        (16, 8, "2 of 3 texts have more tokens than the 8 that texts of the training had at most:"),
    ],
)
def test_what_no_text_of_the_training_had_is_said(length, trained, said, monkeypatch, tmp_path: Path, capsys):
    vectors = iter(np.zeros((3, 2), np.float32))
    found = Embedding(vectors, 2, "mean", 40, length, None, (5, 10, 20), trained)
    monkeypatch.setattr(embed_command, "start_embedding", lambda *_, **__: found)
    out = ["--output-file", str(tmp_path / "out.npy")]
    assert main(["embed", "--run", "run", "--text", *"abc", *out]) == 0
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "a", "--output-file", "o.txt"], r"o\.txt: vectors are written to \.npy or \.parquet"),
        (["--text", "a", "--output-file", "o.npy", "--batch-size", "0"], "batch_size=0 must be 1 or more"),
        (["--text", "a", "--output-file", "o.npy", "--max-length", "0"], "max_length=0 must be 1 or more"),
        (["--input-file", "in.jsonl", "--output-file", "o.npy"], "has no field 'text'; it has 'question'"),
        (["--input-file", "empty.txt", "--output-file", "o.npy"], "empty.txt holds no text"),
        (["--input-file", "in.csv", "--output-file", "o.npy", "--field", "b"], "no column 'b'"),
        (["--input-file", "null.parquet", "--output-file", "o.npy"], r"text is null: 1 .*every row a text"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    arguments, message, refused: Refused, pretrained: Path, tmp_path: Path
):
    write(tmp_path / "in.jsonl", '{"question": "a"}\n')
    write(tmp_path / "empty.txt", "\n \n")
    write(tmp_path / "in.csv", "a,c\n1,2\n")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None, "b"]}), tmp_path / "null.parquet")
    refused(["embed", "--run", pretrained, *arguments], message)


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_shards_joined_are_one_file(ending, numbered, tmp_path: Path, capsys):
    """Each text once, in order; a shard without texts is a file without rows."""
    numbered()
    texts = "abdefg"
    write(tmp_path / "in.txt", "".join(f"{text}\n" for text in texts))
    files = ["--input-file", str(tmp_path / "in.txt"), "--output-file", str(tmp_path / f"out.{ending}")]
    for number in range(7, 0, -1):
        assert main(["embed", "--run", "run", *files, "--shard", f"{number}/7"]) == 0
    assert "shard 1/7 has none of 6 texts" in capsys.readouterr().err
    paths = sorted(tmp_path.glob("out-*"))
    assert [path.name for path in paths] == [f"out-0000{number}-of-00007.{ending}" for number in range(1, 8)]
    if ending == "npy":
        found_ND = np.concatenate([np.load(path) for path in paths])
    else:
        tables = [pyarrow.parquet.read_table(path) for path in paths]
        assert pyarrow.concat_tables(tables)["text"].to_pylist() == list(texts)
        found_ND = np.array(pyarrow.concat_tables(tables)["embedding"].to_pylist())
    np.testing.assert_array_equal(found_ND[:, 0], [ord(text) for text in texts])


def test_a_killed_shard_goes_on(numbered, tmp_path: Path, capsys):
    write(tmp_path / "in.txt", "a\nb\nd\ne\ng\nc\nf\n")
    files = ["--input-file", str(tmp_path / "in.txt"), "--output-file", str(tmp_path / "out.npy")]
    shard = ["embed", "--run", "run", "--batch-size", "1", *files, "--shard", "2/2"]
    assert main(shard) == 130
    assert main(["embed", "--run", "other", *files, "--shard", "1/2"]) == 2
    assert "is of another run than shard 1/2" in capsys.readouterr().err
    numbered()
    assert main(shard) == 0
    assert "2 outputs are in " in capsys.readouterr().err
    np.testing.assert_array_equal(np.load(tmp_path / "out-00002-of-00002.npy")[:, 0], list(map(ord, "egcf")))


def test_a_shard_that_there_is_not_is_refused(refused: Refused, tmp_path: Path):
    words = ["embed", "--run", "run", "--text", "a", "--output-file", str(tmp_path / "out.npy")]
    refused([*words, "--shard", "3/2"], "--shard 3/2 must be I/N")
