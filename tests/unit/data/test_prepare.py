import errno
import gzip
import json
import re
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from t5lite.cli.main import main
from t5lite.core import files
from t5lite.core.errors import ConfigError, DataError, UserError
from t5lite.core.storage.addresses import place
from t5lite.data import prepare
from t5lite.data.document_shuffle import DocumentShuffle
from t5lite.data.heldout_split import is_heldout
from t5lite.data.prepare import (
    PreparePairsConfig,
    PrepareTextConfig,
    prepare_pairs,
    prepare_text,
    write_pair_store,
    write_text_store,
)
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.store_sinks import TextSink
from t5lite.data.stores.token_store import TokenStore


@pytest.fixture
def text_file(tmp_path, prose):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(prose(400, seed=0)))
    return path


def documents(store):
    vocabulary = store.vocabulary()
    return [vocabulary.decode(store.document(index)) for index in range(store.num_documents)]


def test_prepare_text_from_raw_text(tmp_path, text_file, prose):
    config = PrepareTextConfig(
        inputs=(str(text_file),), output=str(tmp_path / "out"), vocabulary_size=150, heldout_fraction=0.1
    )
    report = prepare_text(config)
    train, heldout = (TokenStore.open(tmp_path / "out" / name) for name in ("train", "heldout"))
    assert sorted(documents(train) + documents(heldout)) == sorted(prose(400, seed=0))
    assert 15 < heldout.num_documents < 75
    assert report["stores"]["train"] == {
        "examples": train.num_documents,
        "tokens": train.num_tokens,
        "dropped_empty": 0,
        "unknown": {
            "documents": {
                "tokens": train.num_tokens,
                "unknown": 0,
                "documents": train.num_documents,
                "with_unknown": 0,
            }
        },
    }
    assert (
        train.vocabulary_fingerprint == heldout.vocabulary_fingerprint == report["vocabulary"]["fingerprint"]
    )
    assert json.loads((tmp_path / "out" / "prepare.json").read_text())["stores"] == report["stores"]
    assert (tmp_path / "out" / "vocabulary" / "spiece.model").read_bytes() == train.vocabulary().model_bytes


def test_the_report_has_the_command_of_the_caller_only(tmp_path, text_file, vocabulary):
    config = PrepareTextConfig(
        inputs=(str(text_file),),
        output=str(tmp_path / "out"),
        vocabulary=str(vocabulary.path),
        overwrite=True,
    )
    assert "command" not in prepare_text(config)
    prepare_text(config, command="t5lite prepare text --inputs 'a b.txt'")
    report = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert report["command"] == "t5lite prepare text --inputs 'a b.txt'"


@pytest.mark.parametrize(
    ("where", "address", "message"),
    [
        ("output", "memory://bucket/dir/file", "memory://bucket/dir/file has the scheme 'memory'"),
        ("output", "gs:bucket/dir", "gs:bucket/dir is no address"),
        ("vocabulary", "memory://bucket/dir/file", "memory://bucket/dir/file has the scheme 'memory'"),
    ],
)
def test_addresses_that_do_not_serve_are_refused_first(
    tmp_path, monkeypatch, text_file, where, address, message
):
    monkeypatch.chdir(tmp_path)
    values = {"output": str(tmp_path / "out"), where: address}
    with pytest.raises(UserError, match=message):
        prepare_text(PrepareTextConfig(inputs=(str(text_file),), **values))
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_a_bucket_gives_and_takes_what_a_disk_does(gcs, tmp_path, monkeypatch, vocabulary, prose):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lines = [f"{text}\t{text[:7]}" for text in prose(60, seed=4)]
    disk, bucket = tmp_path / "disk", place(gcs) / "prepared"
    stores = []
    for folder in (disk, bucket):
        files.write_bytes(folder / "in" / "a.tsv.gz", gzip.compress("\n".join(lines).encode(), mtime=0))
        files.write_bytes(folder / "in" / "a.model", vocabulary.path.read_bytes())
        shared = {"inputs": (f"{folder}/in/*.gz",), "vocabulary": f"{folder}/in/a.model"}
        text = PrepareTextConfig(output=f"{folder}/text", field="0", heldout_fraction=0.3, **shared)
        of_text = prepare_text(text)["stores"]
        fields = {"inputs_field": "0", "targets_field": "1"}
        pairs = PreparePairsConfig(output=f"{folder}/pairs", heldout_fraction=0.3, **fields, **shared)
        stores.append((of_text, prepare_pairs(pairs)["stores"]))
        with pytest.raises(UserError, match="exists and is not empty"):
            prepare_text(text)
    assert stores[0] == stores[1]
    for name in bucket.sizes():
        if Path(name).name not in ("prepare.json", ".t5lite-files.json"):
            assert (bucket / name).read_bytes() == (disk / name).read_bytes(), name
    assert TokenStore.open(f"{bucket}/text/train").vocabulary().size == vocabulary.size
    assert PairStore.open(f"{bucket}/pairs/heldout").num_pairs == stores[1][1]["heldout"]["examples"]
    assert not list(tmp_path.glob(".*"))


def test_split_is_stable_under_order_and_keeps_copies_together(tmp_path, vocabulary, prose):
    texts = prose(200, seed=4)
    outputs = []
    for name, lines in (("a", texts), ("b", texts[::-1] + texts[:50])):
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
        prepare_text(
            PrepareTextConfig(
                inputs=(str(tmp_path / f"{name}.txt"),),
                output=str(tmp_path / name),
                vocabulary=str(vocabulary.path),
                heldout_fraction=0.2,
                txt_documents="line",
            )
        )
        outputs.append(
            [set(documents(TokenStore.open(tmp_path / name / part))) for part in ("train", "heldout")]
        )
    assert outputs[0] == outputs[1]
    assert not outputs[1][0] & outputs[1][1]


def test_heldout_share():
    share = sum(is_heldout(f"text {number}", 0.3) for number in range(5000)) / 5000
    assert 0.27 < share < 0.33
    assert not any(is_heldout(f"text {number}", 0.0) for number in range(100))
    assert is_heldout("a  b\n", 0.5) == is_heldout("a b", 0.5)


def test_prepare_pairs_with_prefix(tmp_path, vocabulary):
    rows = [f"ba{'ke' * (n % 7)} {n}\tti{'vo' * (n % 5)}" for n in range(100)] + ["\tzaza", "zaza\t "]
    (tmp_path / "pairs.tsv").write_text("\n".join(rows))
    config = PreparePairsConfig(
        inputs=(str(tmp_path / "pairs.tsv"),),
        output=str(tmp_path / "out"),
        vocabulary=str(vocabulary.path),
        inputs_field="0",
        targets_field="1",
        prefix="limo: ",
        heldout_fraction=0.1,
    )
    report = prepare_pairs(config)
    counts = report["stores"]
    assert counts["train"]["examples"] + counts["heldout"]["examples"] == 100
    assert counts["train"]["dropped_empty"] + counts["heldout"]["dropped_empty"] == 2
    store = PairStore.open(tmp_path / "out" / "train")
    assert all(text.startswith("limo: ") or "⁇" in text for text in documents(store.inputs))
    assert all(text.startswith("ti") for text in documents(store.targets))


def test_a_column_is_not_both_sides_of_a_pair(tmp_path, vocabulary):
    """By one name it is refused; by two, or where the columns hold the same, it is said."""
    rows = [
        "a\tb",
        *(f"ba{'ke' * (n % 7)} {n}\tba{'ke' * (n % 7)}  {n if n > 40 else 'li'}" for n in range(100)),
    ]
    (tmp_path / "pairs.tsv").write_text("\n".join(rows))
    shared = {"inputs": (str(tmp_path / "pairs.tsv"),), "vocabulary": str(vocabulary.path), "prefix": "li "}
    with pytest.raises(
        ConfigError, match=r"inputs_field and targets_field are both 'a': .*; name two fields"
    ):
        PreparePairsConfig(output=str(tmp_path / "out"), inputs_field="a", targets_field="a", **shared)
    warnings = {}
    for target in ("0", "b"):
        output = str(tmp_path / target)
        config = PreparePairsConfig(output=output, inputs_field="a", targets_field=target, **shared)
        warnings[target] = " ".join(prepare_pairs(config)["warnings"])
    assert "in 100 of 100 pairs the target is the input again" in warnings["0"]
    assert "in 59 of 100 pairs the target is the input again" in warnings["b"]


def test_stores_from_iterables(tmp_path, vocabulary):
    counts = write_text_store(iter(["bake", "", "  ", "limo"]), vocabulary, tmp_path / "texts")
    assert (counts.examples, counts.dropped_empty) == (2, 2)
    assert documents(TokenStore.open(tmp_path / "texts")) == ["bake", "limo"]
    pairs = write_pair_store([("bake", "limo"), ("", "x"), ("x", "")], vocabulary, tmp_path / "pairs")
    assert (pairs.examples, pairs.dropped_empty) == (1, 2)


def test_nothing_to_write_leaves_nothing(tmp_path, vocabulary):
    for write, items in ((write_text_store, ["", " "]), (write_pair_store, [("a", "")])):
        with pytest.raises(DataError, match="nothing to write"):
            write(items, vocabulary, tmp_path / "store")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "values", "message"),
    [
        (b"one\n\ntw\xffo", {}, r"text\.txt:3 is not valid UTF-8"),
        (b"", {}, "contains no text"),
        (b"ba ke\n\nli mo", {"vocabulary_size": 5000}, "is too large for this text"),
        (
            b"ba ke\n\nli mo",
            {"vocabulary_size": 12, "heldout_fraction": 1e-9},
            "nothing was left for the 'heldout'",
        ),
        (b"ba ke\n\nli mo", {"heldout_fraction": 0.9999}, "nothing was left for the 'train' store"),
    ],
)
def test_bad_input_leaves_nothing(tmp_path, content, values, message):
    (tmp_path / "text.txt").write_bytes(content)
    options = {"heldout_fraction": 0.0} | values
    config = PrepareTextConfig(inputs=(str(tmp_path / "text.txt"),), output=str(tmp_path / "out"), **options)
    with pytest.raises(DataError, match=message):
        prepare_text(config)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("fraction", [1e-9, 0.9999])
@pytest.mark.parametrize("vocabulary", ["bytes", None])
def test_the_remedy_for_an_empty_store_works(tmp_path, fraction, vocabulary, capsys):
    (tmp_path / "text.txt").write_text("ba ke\n\nli mo nu ra")
    places = ["--inputs", str(tmp_path / "text.txt"), "--output", str(tmp_path / "out")]
    words = ["prepare", "text", *places, *(["--vocabulary", vocabulary] if vocabulary else [])]
    words += [] if vocabulary else ["--vocabulary-size", "15"]
    assert main([*words, "--heldout-fraction", str(fraction)]) == 2
    remedy = re.search(r"; use (--heldout-fraction \S+), which", capsys.readouterr().err)
    assert remedy is not None
    assert main([*words, *remedy[1].split()]) == 0
    assert [path.name for path in (tmp_path / "out").glob("*/") if path.name != "vocabulary"] == ["train"]


@pytest.mark.parametrize("fraction", ["0", "0.01", "0.9999"])
def test_pairs_without_tokens_are_not_blamed_on_the_fraction(tmp_path, fraction, capsys):
    (tmp_path / "pairs.tsv").write_text("\tlimo\n\tbake\n")
    places = ["--inputs", str(tmp_path / "pairs.tsv"), "--output", str(tmp_path / "out")]
    fields = ["--inputs-field", "0", "--targets-field", "1", "--vocabulary", "bytes"]
    assert main(["prepare", "pairs", *places, *fields, "--heldout-fraction", fraction]) == 2
    said = capsys.readouterr().err
    assert "none of the 2 texts or pairs has tokens (a pair needs some on both sides)" in said
    assert "fraction" not in said


def test_existing_output_is_refused_before_work_and_replaced_on_request(tmp_path, text_file, vocabulary):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    config = PrepareTextConfig(
        inputs=(str(text_file),), output=str(tmp_path / "out"), vocabulary=str(vocabulary.path)
    )
    with pytest.raises(UserError, match="not empty"):
        prepare_text(config)
    overwriting = PrepareTextConfig(**(asdict(config) | {"overwrite": True, "heldout_fraction": 0.0}))
    with pytest.raises(UserError, match=r"no prepare\.json, so it was not written by this command"):
        prepare_text(overwriting)
    (tmp_path / "out" / "prepare.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds 2 files \(mine\.txt, prepare\.json\) and no \.t5lite-files"):
        prepare_text(overwriting)
    assert (tmp_path / "out" / "mine.txt").read_text() == "precious"
    shutil.rmtree(tmp_path / "out")
    prepare_text(config)
    prepare_text(overwriting)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".t5lite-files.json",
        "prepare.json",
        "train",
        "vocabulary",
    ]


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        ({"inputs": ("out/in.txt",)}, "out holds out/in.txt"),
        ({"inputs": ("out",)}, "out is out"),
        ({"inputs": ("o*t/*.txt",)}, "out holds .*out/in.txt"),
        ({"inputs": ("link.txt",)}, "out holds link.txt"),
        ({"inputs": (".",)}, "out lies in ."),
        ({"vocabulary": "out/vocabulary"}, "out holds out/vocabulary/spiece.model"),
        ({"vocabulary": "out/vocabulary/spiece.model"}, "out holds out/vocabulary/spiece.model"),
    ],
)
def test_nothing_that_is_read_is_overwritten(
    reads: dict[str, Any], message: str, tmp_path, text_file, vocabulary, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    settings = {
        "inputs": (str(text_file),),
        "output": "out",
        "vocabulary": str(vocabulary.path),
        "overwrite": True,
    }
    prepare_text(PrepareTextConfig(**settings))
    shutil.copy(text_file, "out/in.txt")
    Path("link.txt").symlink_to("out/in.txt")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=f"{message}, which is read; write to a place apart"):
        prepare_text(PrepareTextConfig(**settings | reads))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "values",
    [
        {"heldout_fraction": 1.0},
        {"vocabulary_size": 3},
        {"extra_ids": -1},
        {"num_threads": 0},
        {"seed": -1},
        {"character_coverage": 2},
    ],
)
def test_settings_out_of_range(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        PrepareTextConfig(inputs=("a.txt",), output="out", **values)


def store_files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_mixed_folder_and_its_shuffled_order(tmp_path, vocabulary, prose):
    """Whatever the formats and the order of the files, the same documents give the same bytes."""
    texts = prose(120, seed=9)
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "deep").mkdir(parents=True)
    second.mkdir()
    rows = [{"text": text, "url": "x"} for text in texts]
    (first / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows[:40]))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[40:80]), first / "deep" / "b.parquet")
    (first / "c.txt.gz").write_bytes(gzip.compress("\n\n".join(texts[80:]).encode()))
    (first / "README.md").write_text("not data")
    (second / "all.jsonl").write_text("\n".join(json.dumps(row) for row in reversed(rows)))
    for folder, seed, output in ((first, 0, "x"), (second, 0, "y"), (second, 1, "z")):
        config = PrepareTextConfig(
            inputs=(str(folder),),
            output=str(tmp_path / output),
            vocabulary=str(vocabulary.path),
            heldout_fraction=0.1,
            seed=seed,
        )
        report = prepare_text(config)
    assert store_files(tmp_path / "x" / "train") == store_files(tmp_path / "y" / "train")
    assert store_files(tmp_path / "x" / "train") != store_files(tmp_path / "z" / "train")
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == [
        ".t5lite-files.json",
        "heldout",
        "prepare.json",
        "train",
        "vocabulary",
    ]
    assert report["inputs"]["shuffled"]
    inputs = json.loads((tmp_path / "x" / "prepare.json").read_text())["inputs"]
    assert inputs["skipped"] == [str(first / "README.md")]


def test_text_keeps_its_order_unless_asked_for(tmp_path, text_file, vocabulary, prose):
    orders = {}
    for shuffle in ("auto", "never", "always"):
        config = PrepareTextConfig(
            inputs=(str(text_file),),
            output=str(tmp_path / shuffle),
            vocabulary=str(vocabulary.path),
            heldout_fraction=0,
            shuffle=shuffle,
        )
        prepare_text(config)
        orders[shuffle] = documents(TokenStore.open(tmp_path / shuffle / "train"))
    assert orders["auto"] == orders["never"] == prose(400, seed=0)
    assert orders["always"] != orders["auto"]
    assert sorted(orders["always"]) == sorted(orders["auto"])


def test_a_shuffle_in_many_ranges_is_that_in_one(tmp_path, monkeypatch):
    texts = [f"text {number}" for number in range(500)]
    tokens = [np.arange(number % 7 + 1) + number for number in range(500)]
    orders = []
    monkeypatch.setattr("t5lite.data.document_shuffle._RANGE_BYTES", 100)
    for number, expected_bytes in enumerate((1, 1000)):
        shuffle = DocumentShuffle(tmp_path / str(number), seed=3, expected_bytes=expected_bytes)
        for start in (250, 0):
            shuffle.add_batch(texts[start : start + 250], tokens[start : start + 250])
        orders.append([document.tolist() for batch in shuffle.drain() for document in batch])
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted(document.tolist() for document in tokens)


@pytest.mark.parametrize(("owner", "name"), [(prepare, "train_vocabulary"), (TextSink, "add")])
def test_what_stops_preparing_is_said_on_a_line_of_its_own(
    tmp_path, text_file, monkeypatch, capsys, owner, name
):
    """An error keeps the frames that it came through: a bar that is open there would share its line."""

    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(owner, name, no_room)
    monkeypatch.setattr("t5lite.data.heldout_split.BATCH", 10)
    output = str(tmp_path / "out")
    assert main(
        ["prepare", "text", "--inputs", str(text_file), "--output", output, "--vocabulary-size", "150"]
    )
    shown = capsys.readouterr().err
    assert re.split("[\r\n]", shown.rstrip())[-1].startswith("t5lite prepare: the disk of")
