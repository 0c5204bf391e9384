"""Which files are trained on and which are held out, by their names."""

import re
from pathlib import Path

import pytest

from t5lite.tasks import TASKS
from t5lite.tasks.split_files import split_files
from t5lite.tasks.task import Splits


@pytest.mark.parametrize(
    ("names", "train", "heldout"),
    [
        ("train test", "train", ""),
        ("train validation test", "train", "validation"),
        ("train-00000-of-00002 train-00001-of-00002 test-00000-of-00001", "train-0.*", ""),
        ("train dev_matched dev_mismatched test_matched", "train", "dev_matched|dev_mismatched"),
        ("imdb_train imdb_test", "imdb_train", ""),
        ("glue-train.0 glue-validation.0 glue-test.0", "glue-train.*", "glue-validation.*"),
        ("TRAIN Valid", "TRAIN", "Valid"),
        ("rows test", "rows", ""),
        ("rows more", "rows|more", ""),
        ("rows dev eval", "rows", "dev"),
        ("train/a train/b test/a", "train/.", ""),
        ("train/a validation/a test/a", "train/a", "validation/a"),
        ("test", "test", ""),
        ("test validation", "test|validation", ""),
        ("train more validation", "train", "validation"),
        ("retest attested", "retest|attested", ""),
    ],
)
def test_splits_for_scoring_are_never_trained_on_beside_others(names, train, heldout, tmp_path):
    paths = {name: written(tmp_path / "folder" / f"{name}.jsonl") for name in names.split()}
    for inputs in ([str(tmp_path / "folder")], list(paths.values())):
        found = split_files(inputs, [], splits=Splits(), heldout_fraction=0.1)
        sides = {name: found.split.holds_out("", path) for name, path in paths.items()}
        sides = {name: held for name, held in sides.items() if paths[name] in found.inputs.paths}
        assert {name for name in sides if matches(name, heldout)} == {n for n in sides if sides[n]}
        assert {name for name in paths if matches(name, train)} == {n for n in sides if not sides[n]}
        left_out = set(paths) - set(sides)
        assert left_out <= {name for name in paths if paths[name] in found.inputs.skipped}
        assert all(paths[name] in "".join(found.said) for name in left_out)
        assert ("--heldout-inputs" in "".join(found.said)) == bool(left_out and not heldout)


def test_the_matched_half_of_mnli_is_held_out(tmp_path):
    for name in ("train", "dev_matched", "dev_mismatched", "test_matched"):
        written(tmp_path / f"{name}.tsv")
    found = split_files([str(tmp_path)], [], splits=TASKS["mnli"].splits, heldout_fraction=0.1)
    assert [Path(path).stem for path in found.inputs.paths] == ["dev_matched", "train"]


def test_a_test_split_that_is_asked_for_is_held_out(tmp_path):
    train, dev, test = (written(tmp_path / f"{name}.jsonl") for name in ("train", "dev", "test"))
    found = split_files([str(tmp_path)], [test], splits=Splits(), heldout_fraction=0.1)
    assert {*found.inputs.paths} == {train, test}
    assert found.split.holds_out("", test)
    assert not found.split.holds_out("", train)
    assert found.said == [f"by their names, {train} are for training; left out: {dev}"]
    alone = split_files([dev], [test], splits=Splits(), heldout_fraction=0.1)
    said = f"warning: by their names, {dev} are not for training; there is nothing else for it"
    assert alone.said == [said]


def written(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    return str(path)


def matches(name: str, pattern: str) -> bool:
    return re.fullmatch(pattern, name) is not None
