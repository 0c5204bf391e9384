"""Which finished steps a job keeps, and the vocabulary's sample; without Daft's workers."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import work_folder
from data_pipelines.bucket_files import write_batches
from data_pipelines.options import Cleaning, PipelineOptions
from data_pipelines.tokenising import KEPT, SampleDocuments, highest_priority
from t5lite.core.errors import ConfigError, UserError
from t5lite.data.reading.input_files import find_input_files

CHANGES = {
    "heldout_fraction": (0.2, "keep"),
    "vocabulary_sample_mib": (1, "sample"),
    "vocabulary_size": (7360, "vocabulary"),
    "character_coverage": (1.0, "vocabulary"),
    "extra_ids": (10, "tokenise"),
}
REFUSED = {"field": "body", "txt_documents": "line", "on_invalid_utf8": "replace", "seed": 1}


@pytest.fixture
def job(tmp_path):
    (tmp_path / "a.txt").write_text("bake")
    inputs = find_input_files([tmp_path / "a.txt"])
    options = PipelineOptions(inputs=(str(tmp_path / "a.txt"),), output=str(tmp_path / "out"))

    def of(**changes):
        return work_folder.job_of(dataclasses.replace(options, **changes), Cleaning(), inputs, None)

    return of


def finished(work):
    for step in ("read", "clean", "keep", "sample", "tokenise"):
        (work / "marks" / step).mkdir(parents=True)
        (work / "marks" / step / "00000.json").write_text("{}")
    for folder in ("documents", "kept", "sample", "vocabulary", "tokens"):
        (work / folder).mkdir()
        (work / folder / "00000.arrow").write_text("")


def steps_left(work):
    return {path.name for path in work.rglob("*") if path.is_dir() and any(path.glob("*.*"))}


@pytest.mark.parametrize("option", CHANGES)
def test_steps_before_the_first_that_an_option_decides_are_kept(tmp_path, job, option, capsys):
    value, first = CHANGES[option]
    work = tmp_path / "work"
    work_folder.open_work_folder(work, job())
    finished(work)
    work_folder.open_work_folder(work, job())
    everything = steps_left(work)
    assert capsys.readouterr().out == ""
    work_folder.open_work_folder(work, job(**{option: value}))
    order = ["keep", "sample", "vocabulary", "tokenise"]
    gone = {name for step in order[order.index(first) :] for name in (step, work_folder._FOLDERS[step])}
    assert steps_left(work) == everything - gone
    assert f"what comes before the step {first} is kept" in capsys.readouterr().out
    work_folder.open_work_folder(work, job(**{option: value}))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("option", REFUSED)
def test_another_job_is_refused_and_its_folder_untouched(tmp_path, job, option):
    work = tmp_path / "work"
    work_folder.open_work_folder(work, job())
    finished(work)
    before = steps_left(work)
    with pytest.raises(UserError, match="another job"):
        work_folder.open_work_folder(work, job(**{option: REFUSED[option]}))
    assert steps_left(work) == before


def test_every_option_has_its_place():
    fields = {field.name for field in dataclasses.fields(PipelineOptions)}
    assert fields == {*CHANGES, *REFUSED, *work_folder._NOT_THE_JOB}


@pytest.mark.parametrize(
    "values", [{"seed": 1 << 32}, {"seed": -1}, {"extra_ids": -1}, {"character_coverage": 0.9}]
)
def test_settings_out_of_range_are_refused_before_any_work(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        PipelineOptions(inputs=("a.txt",), output="out", **values)


def test_a_damaged_job_is_one_line(tmp_path, job):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "job.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        work_folder.open_work_folder(tmp_path / "work", job())


@settings(deadline=None, max_examples=60)
@given(
    documents=st.lists(st.tuples(st.integers(1, 3000), st.booleans()), max_size=30),
    sample_bytes=st.integers(1, 5000),
    seed=st.integers(0, 3),
)
def test_a_sample_is_as_large_as_asked_for_whatever_the_documents(
    tmp_path_factory, documents, sample_bytes, seed
):
    """Two huge documents had none of them in it (an IndexError), and held-out ones counted."""
    folder = tmp_path_factory.mktemp("kept")
    keys = np.random.default_rng(seed).integers(0, 1 << 63, len(documents)).astype(np.uint64)
    texts = ["x" * size for size, _ in documents]
    heldout = [heldout for _, heldout in documents]
    table = pa.table([keys, pa.array(texts, pa.large_string()), pa.array(heldout, pa.bool_())], schema=KEPT)
    write_batches(folder / "00000.arrow", [table], KEPT)
    highest = highest_priority(
        folder, ["00000"], seed=seed, sample_bytes=sample_bytes, total_bytes=sum(map(len, texts))
    )
    sample = SampleDocuments(
        kept=str(folder), output=str(folder / "sample"), highest_priority=highest, seed=seed
    )
    sample("00000")
    with pa.memory_map(str(folder / "sample" / "00000.arrow")) as file:
        sizes = [len(text) for text in pa.ipc.open_file(file).read_all()["text"].to_pylist()]
    available = sum(size for size, heldout in documents if not heldout)
    assert sum(sizes) >= min(sample_bytes, available)
    assert not sizes or sum(sizes) - max(sizes) < sample_bytes
