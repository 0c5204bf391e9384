"""Replacing a directory: the old one is there until the new one is."""

import os
import shutil

import pytest

from t5lite.core import files


@pytest.fixture
def old(tmp_path):
    directory = tmp_path / "out"
    directory.mkdir()
    (directory / "mark").write_text("old")
    return directory


def replace(directory):
    with files.new_directory(directory, overwrite=True, mark="mark") as temporary:
        (temporary / "mark").write_text("new")


def test_the_old_directory_is_deleted_only_when_the_new_one_is_in_place(old, monkeypatch):
    deleted = []

    def rmtree(path, **options):
        assert (old / "mark").read_text() == "new"
        deleted.append((path / "mark").read_text())
        remove(path, **options)

    remove = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    replace(old)
    assert deleted == ["old"]
    assert list(old.parent.iterdir()) == [old]


def test_the_old_directory_is_put_back_when_the_new_one_cannot_take_its_place(old, monkeypatch):
    def refuse(source, target):
        if target == old and (source / "mark").read_text() == "new":
            raise PermissionError("refused")
        move(source, target)

    move = os.replace
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        replace(old)
    assert (old / "mark").read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


def test_of_a_link_the_directory_it_names_is_replaced(old):
    link = old.parent / "link"
    link.symlink_to(old)
    replace(link)
    assert link.is_symlink()
    assert (old / "mark").read_text() == "new"
