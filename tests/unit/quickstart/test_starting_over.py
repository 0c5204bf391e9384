"""``quickstart --overwrite`` deletes what a quickstart writes and no file of anyone else."""

from pathlib import Path

import pytest

from t5lite.core import files
from t5lite.core.errors import ConfigError, UserError
from t5lite.core.storage.addresses import place
from t5lite.core.storage.bucket_directories import UNFINISHED
from t5lite.core.storage.remote_path import RemotePath
from t5lite.quickstart import starting_over

WRITTEN = (
    "README.txt",
    "report.html",
    "plots/curve.png",
    "stages/export.stopped.json",
    "data/vocabulary/spiece.model",
    "pretrain/config.json",
    "pretrain/checkpoints/40/state/d/0123",
    "pretrain/checkpoints/40.orbax-checkpoint-tmp-1/state/x",
    "finetune/translation-scratch/tensorboard/events.out.tfevents.1.host.2",
    "finetune/translation-scratch/evaluation.json",
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "quickstart"
    for name in ("quickstart.json", *WRITTEN):
        files.write_text(directory / name, "")
    for name in ("export", "data/pretrain/train", "mine/export"):
        with files.new_directory(directory / name, mark="mark") as folder:
            files.write_text(folder / "mark", "")
    (directory / "mine").rename(tmp_path / "mine")
    return directory


@pytest.mark.parametrize("link", [False, True])
def test_a_quickstart_is_deleted(link: bool, directory: Path):
    named = directory
    if link:
        named = directory.parent / "link"
        named.symlink_to(directory)
    starting_over.delete(named)
    assert link == directory.exists()
    assert not link or list(directory.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        ".git/HEAD",
        "plots/mine.pdf",
        "pretrain/notes.txt",
        "pretrain/checkpoints/notes.txt",
        "finetune/README.md",
        "export/README.md",
        "data/pretrain/train/notes",
        "data/vocabulary/mine.model",
        "my-export/mark",
        "data/pretrain/mine.json",
    ],
)
def test_a_file_of_others_stands_in_the_way(name: str, directory: Path):
    files.write_text(directory / name, "mine")
    before = sorted(directory.rglob("*"))
    with pytest.raises(UserError, match=rf"holds 1 file \({name}\) that t5lite did not write"):
        starting_over.delete(directory)
    assert sorted(directory.rglob("*")) == before


def test_an_export_of_one_s_own_and_a_link_stand_in_the_way(directory: Path):
    (directory.parent / "mine" / "export").rename(directory / "mine")
    (directory / "report.html").unlink()
    (directory / "report.html").symlink_to(__file__)
    with pytest.raises(UserError, match=r"3 files \(mine/\.t5lite-files\.json, mine/mark, report\.html\)"):
        starting_over.delete(directory)
    assert (directory / "mine" / "mark").exists()


def test_what_is_no_quickstart_or_where_the_user_is_is_not_deleted(directory: Path, monkeypatch):
    with pytest.raises(ConfigError, match="is not a quickstart's directory; it is not deleted"):
        starting_over.delete(directory / "pretrain")
    monkeypatch.chdir(directory / "pretrain")
    with pytest.raises(UserError, match="holds the current directory"):
        starting_over.delete(directory)


def test_in_a_bucket_too_what_was_left_unfinished_among_it_and_its_mark_last(gcs, monkeypatch):
    directory = place(gcs) / "starting-over"
    for name in (starting_over.MARK, *WRITTEN):
        files.write_text(directory / name, "")
    with files.new_directory(directory / "export", mark="mark") as folder:
        files.write_text(folder / "mark", "")
    train = directory / "data" / "pretrain" / "train"
    unfinished = {"format": "t5lite unfinished 1", "id": "1", "by": "a process", "files": ["a.bin", "mark"]}
    files.write_json(train / UNFINISHED, unfinished)
    files.write_text(train / "a.bin", "")
    files.write_text(directory / "export" / "README.md", "mine")
    before = directory.sizes()
    with pytest.raises(UserError, match=r"holds 1 file \(export/README\.md\) that t5lite did not write"):
        starting_over.delete(directory)
    assert directory.sizes() == before
    (directory / "export" / "README.md").unlink()
    deleted: list[RemotePath] = []
    unlink = RemotePath.unlink
    monkeypatch.setattr(RemotePath, "unlink", lambda path, **how: deleted.append(path) or unlink(path, **how))
    starting_over.delete(directory)
    assert not directory.exists()
    assert deleted[-1] == directory / starting_over.MARK
