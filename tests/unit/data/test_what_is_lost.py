"""What preparing says of unknown tokens, long documents and targets that a vocabulary cannot tell apart."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.cli.main import main
from t5lite.core.errors import DataError
from t5lite.data.examples.label_classes import find_classes
from t5lite.data.file_counts import long_documents_warning
from t5lite.data.prepare import PreparePairsConfig, prepare_pairs, write_pair_store, write_text_store
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.target_texts import TargetTexts
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import open_vocabulary


def prepare(kind, output, *options):
    arguments = ["prepare", kind, "--output", str(output), "--heldout-fraction", "0", *map(str, options)]
    assert main(arguments) == 0
    return json.loads((output / "prepare.json").read_text())


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text("bake ди⁇<", min_size=1, max_size=12), min_size=1, max_size=12))
def test_unknown_tokens_of_a_store_are_those_that_are_in_it(tmp_path_factory, vocabulary, texts):
    path = tmp_path_factory.mktemp("store") / "train"
    counts = write_text_store([*texts, "ba"], vocabulary, path).unknown["documents"]
    store = TokenStore.open(path)
    unknown = [int((store.document(i) == vocabulary.unk_id).sum()) for i in range(store.num_documents)]
    assert store.unknown == counts
    assert (counts.tokens, counts.unknown) == (store.num_tokens, sum(unknown))
    assert counts.with_unknown == sum(number > 0 for number in unknown)


def test_unknown_text_is_said_with_the_worst_files_and_the_remedies_work(tmp_path, vocabulary, prose, capsys):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "latin.txt").write_text("\n\n".join(prose(30, seed=1)))
    (texts / "cyrillic.txt").write_text("\n\n".join(["да нет ke", "нет да"] * 30))
    options = ["--inputs", texts]
    report = prepare("text", tmp_path / "out", *options, "--vocabulary", vocabulary.path)
    said = capsys.readouterr().out
    counts = report["stores"]["train"]["unknown"]["documents"]
    assert counts == {
        "tokens": report["stores"]["train"]["tokens"],
        "unknown": 120,
        "documents": 90,
        "with_unknown": 60,
    }
    assert list(report["unknown_tokens"]["worst_files"]) == [str(texts / "cyrillic.txt")]
    share = 120 / counts["tokens"]
    assert f"unknown tokens: {share:.2%} (120 of {counts['tokens']:,}, in 66.7% of the documents)" in said
    assert f"; most in {texts / 'cyrillic.txt'} (" in said
    assert "leave --vocabulary out, so that one is trained on this text, or take --vocabulary bytes" in said
    for number, remedy in enumerate((["--vocabulary-size", 80], ["--vocabulary", "bytes"])):
        report = prepare("text", tmp_path / str(number), *options, *remedy)
        assert report["warnings"] == []
        assert "unknown tokens: none" in capsys.readouterr().out


def test_a_trained_vocabulary_with_gaps_names_the_coverage(tmp_path, capsys):
    rare = "".join(chr(0x4E00 + number) for number in range(200))
    (tmp_path / "a.txt").write_text("bake limo nura seti voza " * 400 + "\n\n" + " ".join(rare))
    options = ["--inputs", tmp_path / "a.txt", "--vocabulary-size"]
    report = prepare("text", tmp_path / "gaps", *options, 20, "--character-coverage", 0.98)
    assert "--character-coverage 1" in report["warnings"][0]
    report = prepare("text", tmp_path / "whole", *options, 220, "--character-coverage", 1)
    assert report["unknown_tokens"]["worst_files"] == {}


def test_pairs_tell_inputs_and_targets_apart(tmp_path, vocabulary, capsys):
    rows = ["bake\tlimo", "bake mo\tдля limo", "seti\tnura да ke нет", "да\tke"] * 5
    (tmp_path / "a.tsv").write_text("\n".join(rows))
    fields = ["--inputs-field", 0, "--targets-field", 1]
    report = prepare(
        "pairs", tmp_path / "out", "--inputs", tmp_path / "a.tsv", "--vocabulary", vocabulary.path, *fields
    )
    unknown = report["stores"]["train"]["unknown"]
    assert (unknown["inputs"]["unknown"], unknown["inputs"]["with_unknown"]) == (5, 5)
    assert (unknown["targets"]["unknown"], unknown["targets"]["with_unknown"]) == (15, 10)
    out = capsys.readouterr().out
    assert "in 25.0% of the pairs), targets" in out
    assert "in 50.0% of the pairs)" in out
    assert "warning: the vocabulary" in out


@pytest.mark.parametrize(
    ("content", "mode", "remedies"),
    [("bake limo\n", "paragraph", ("line", "piece")), ("bake limo ", "line", ("piece",))],
)
def test_a_text_without_ends_of_documents_is_said(tmp_path, vocabulary, content, mode, remedies, capsys):
    (tmp_path / "a.txt").write_text(content * 50_000)
    options = ["--inputs", tmp_path / "a.txt", "--vocabulary", vocabulary.path, "--txt-documents"]
    report = prepare("text", tmp_path / "out", *options, mode)
    assert report["stores"]["train"]["examples"] == 1
    (warning,) = report["warnings"]
    assert f"the longest {report['stores']['train']['tokens']:,} in {tmp_path / 'a.txt'}; " in warning
    for remedy in remedies:
        assert f"--txt-documents {remedy}" in warning or remedy in warning
        assert prepare("text", tmp_path / remedy, *options, remedy)["warnings"] == []


def test_only_txt_files_are_told_how_to_be_cut():
    longest = dict.fromkeys(["a.txt.gz", "b.jsonl", "c.warc.wet.gz", "d.parquet"], 10) | {"e.txt": 9}
    warning = long_documents_warning(longest, "paragraph", least=10, unit="bytes")
    assert "1 of the .txt files hold a document of 10 bytes or more, the longest 10 in a.txt.gz; " in warning
    assert long_documents_warning(longest, "piece", least=10, unit="bytes") is None
    assert long_documents_warning(longest, "line", least=11, unit="bytes") is None


COLLAPSED = "cannot tell these targets apart: 'да' = 'нет'; take one that can"


def test_targets_that_collapse_are_refused_and_the_remedy_works(tmp_path, vocabulary, capsys):
    rows = [f"bake {number}\t{('да', 'нет')[number % 2]}" for number in range(20)]
    (tmp_path / "a.tsv").write_text("\n".join(rows))
    config = {"inputs": (str(tmp_path / "a.tsv"),), "inputs_field": "0", "targets_field": "1"}
    with pytest.raises(DataError, match=COLLAPSED):
        prepare_pairs(
            PreparePairsConfig(output=str(tmp_path / "out"), vocabulary=str(vocabulary.path), **config)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.tsv"]
    prepare_pairs(
        PreparePairsConfig(output=str(tmp_path / "out"), vocabulary="bytes", heldout_fraction=0.0, **config)
    )
    pairs = PairStore.open(tmp_path / "out" / "train")
    assert find_classes(pairs, pairs.vocabulary()).texts == ("да", "нет")


def test_few_pairs_that_collapse_are_counted_and_no_classes(tmp_path, vocabulary, capsys):
    """Of so few, none can say that they are classes; training a classifier does."""
    (tmp_path / "a.tsv").write_text("bake\tH2O\nlimo\tH₂O\nseti\tke ke\nmo\tke  ke\nra\tné\nra\tne\u0301")
    options = ["--inputs", tmp_path / "a.tsv", "--inputs-field", 0, "--targets-field", 1]
    (tmp_path / "train").mkdir()
    report = prepare("pairs", tmp_path / "train" / "x", *options, "--vocabulary-size", 23)
    assert any("2 of 4 distinct targets have the tokens of another" in line for line in report["warnings"])
    pairs = PairStore.open(tmp_path / "train" / "x" / "train")
    assert pairs.collapsed_targets == [["H2O", "H₂O"]]
    with pytest.raises(DataError, match="cannot tell these targets apart: 'H2O' = 'H₂O'"):
        find_classes(pairs, pairs.vocabulary())


def test_a_single_class_is_refused(tmp_path, vocabulary):
    write_pair_store([("bake", "ke"), ("limo", "ke")], vocabulary, tmp_path / "train")
    with pytest.raises(
        DataError, match=r"all 2 pairs of .* have the target 'ke'; to classify, give pairs of"
    ):
        find_classes(PairStore.open(tmp_path / "train"), vocabulary)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text("abAдe\u0301é2₂ ", max_size=4), max_size=30))
def test_targets_are_counted_as_a_dictionary_would(texts):
    vocabulary = open_vocabulary("bytes")
    by_tokens = {text: tuple(vocabulary.encode(text.lower()[:2]).tolist()) for text in texts}
    found = TargetTexts()
    for text in texts:
        found.add([text], [vocabulary.encode(text.lower()[:2])])
    spelt = {(by_tokens[text], TargetTexts.same(text)) for text in texts}
    shared = Counter(tokens for tokens, _ in spelt)
    assert found.counts == (len(texts), len(spelt), sum(number for number in shared.values() if number > 1))
    assert sum(map(len, found.collapsed)) <= found.counts[2]


def test_of_long_targets_no_more_is_kept_than_is_shown(tmp_path, vocabulary):
    long = "ke " * 1000
    found = TargetTexts()
    found.add([long + "да", long + "нет"], [np.arange(3)] * 2)
    assert found.counts == (2, 2, 2)
    assert [len(text) for text in found.collapsed[0]] == [40, 40]
    write_pair_store([("bake", long), ("limo", "ke")] * 4, vocabulary, tmp_path / "train")
    assert PairStore.open(tmp_path / "train").target_names() == ("ke",)
