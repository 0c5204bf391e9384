"""An offline job deletes what it wrote, in its output and its work folder, and nothing else."""

from pathlib import Path

import pytest

from data_pipelines import pipeline, work_folder
from data_pipelines.options import Cleaning, PipelineOptions
from t5lite.core.errors import UserError
from tests.e2e.conftest import contents


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ("out/in.jsonl",)}, "out has no manifest.json, so it was not written by this command"),
        ({"inputs": ("work/in.jsonl",)}, "work holds work/in.jsonl"),
        ({"inputs": ("work",)}, "work is work"),
        ({"output": "work/out"}, "work/out lies in .*work"),
        ({"work": "out/work"}, "out holds .*out/work"),
        ({"work": "out"}, "out is .*out"),
        ({"work": "in/work"}, "in/work lies in in"),
    ],
)
def test_places_that_would_take_something_with_them_are_refused(
    options, message, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("in", *Path(options.get("inputs", ("in/x",))[0]).parts[:1]):
        Path(name).mkdir(exist_ok=True)
        Path(name, "in.jsonl").write_text('{"text": "One two."}')
    settings = {"inputs": ("in",), "output": "out", "work": "work", "vocabulary": "bytes", "overwrite": True}
    before = contents(tmp_path)
    with pytest.raises(UserError, match=message):
        pipeline.run(PipelineOptions(**settings | options), Cleaning(), recipe="none")
    assert contents(tmp_path) == before


def test_what_others_put_in_the_work_folder_is_kept(tmp_path: Path, capsys):
    work = tmp_path / "work"
    for name in ("job.json", "marks/read/0.json", "near_duplicates.npy", "notes.txt", "mine/kept"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).touch()
    work_folder.delete_work_folder(work)
    assert contents(work).keys() == {"mine", "mine/kept", "notes.txt"}
    assert f"{work} is kept for what is not of this job: mine, notes.txt" in capsys.readouterr().err
    (work / "notes.txt").unlink()
    (work / "mine" / "kept").unlink()
    (work / "mine").rmdir()
    work_folder.delete_work_folder(work)
    assert not work.exists()
