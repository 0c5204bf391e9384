"""Files of a run that older versions wrote are read, those of a newer one refused by name."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from t5lite import run_config
from t5lite.checkpointing.reading import METADATA_VERSIONS, read_metadata
from t5lite.core.errors import CheckpointError, ConfigError, DamagedCheckpointError
from t5lite.core.migrations import Versions
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.data.mixture_schedule import MixtureHistory, Share
from t5lite.data.position import DataPosition
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.models.config import Execution
from t5lite.run_config import InitializeFrom
from t5lite.runner import config_history, model_file, rollback, run_directory
from t5lite.runner.config_changes import Effect, config_changes
from t5lite.runner.earlier_run import EarlierModel, EarlierRun
from t5lite.runner.initialization import Source, check_source
from t5lite.runner.resumption import Resumption, resumption
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.training import attempts
from t5lite.training.trackers import reporting

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "tests" / "e2e" / "tiny_recipe.py"
NEWER = r"was written by a newer t5lite: it has version 99, and this one reads up to \d+; upgrade t5lite"


def older_run() -> Any:
    """The recipe as version 2 of ``config.json`` said it."""
    content = json.loads((RECIPE.parents[1] / "golden" / "flat_configurations.json").read_text())
    return content["runs"]["tests/e2e/tiny_recipe.py"]


def rewritten(path: Path, change) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def unversioned(content):
    return {key: value for key, value in content.items() if key != "version"}


def of_a_newer_version(content):
    return content | {"version": 99, "unheard_of": 1}


def saved_checkpoint(directory: RunDirectory, metadata, step=20) -> Path:
    file = directory.checkpoints / str(step) / "metadata" / "metadata"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(metadata))
    return file


def test_a_configuration_of_version_0_is_read_and_nothing_in_it_is_a_change(tmp_path):
    config = run_config.load(RECIPE)
    saved = unversioned(older_run())
    for node in (saved["model"], saved["data"]["objective"]):
        del node["type"]
    for name in ("num_kv_heads", "positions", "norm", "biases"):
        del saved["model"][name]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    directory = RunDirectory.at(tmp_path)
    assert directory.read_config() == config
    saved_checkpoint(directory, {"config": saved, "step": 20})
    found = resumption(Snapshot(directory), 20)
    assert found.config == config
    assert found.config_json == run_config.to_json(config)
    rewritten(directory.config_file, of_a_newer_version)
    with pytest.raises(ConfigError, match=f"config.json {NEWER}"):
        directory.read_config()


def test_a_configuration_of_version_1_took_the_newest_checkpoint_where_it_named_none(tmp_path):
    saved = older_run() | {"version": 1}
    for step, expected in ((None, "newest"), (7, 7)):
        content = saved | {"initialize_from": {"run": "/old", "step": step}}
        found = run_config.from_values(content).initialize_from
        assert found == InitializeFrom(run="/old", step=expected)


def test_a_configuration_that_is_no_longer_understood_is_still_compared(tmp_path):
    saved = run_config.to_json(run_config.load(RECIPE)) | {"colour": "red"}
    directory = RunDirectory.at(tmp_path)
    directory.write_config(run_config.load(RECIPE))
    saved_checkpoint(directory, {"config": saved, "step": 20, "examples_seen": 160})
    found = resumption(Snapshot(directory), 20)
    assert found.config is None
    assert found.config_json["colour"] == "red"


def test_a_model_of_version_0_is_read(tmp_path):
    directory, config = RunDirectory.at(tmp_path), run_config.load(RECIPE).model
    directory.write_model(config, ByteVocabulary(extra_ids=100), execution=Execution())

    def older(content):
        content = unversioned(content) | {"config": older_run()["model"]}
        del content["config"]["type"], content["execution"]
        return content

    rewritten(directory.model_file, older)
    assert directory.read_model()[0] == config
    rewritten(directory.model_file, of_a_newer_version)
    with pytest.raises(ConfigError, match=f"model.json {NEWER}"):
        directory.read_model()


def test_a_field_that_an_older_model_lacks_is_no_change_where_its_head_makes_nothing_of_it(tmp_path):
    directory, vocabulary = RunDirectory.at(tmp_path), ByteVocabulary(extra_ids=100)
    recipe = run_config.load(ROOT / "configs" / "reproductions" / "modernbert_base.py")
    directory.write_model(recipe.model, vocabulary, execution=Execution())

    def older(content):
        del content["config"]["label_transform"]
        return content

    rewritten(directory.model_file, older)
    saved = directory.read_model_file()
    assert not saved.config.label_transform
    earlier = EarlierRun(
        model=EarlierModel(config=saved.config, vocabulary=saved.vocabulary), has_checkpoints=True
    )
    earlier.check(directory, recipe.model, vocabulary)
    before = dataclasses.replace(recipe, model=saved.config)
    resumed = Resumption(step=1, position=DataPosition(1), saved_config=run_config.to_json(before))
    contents = dict.fromkeys(map(".".join, recipe.stores), "")
    assert [change.effect for change in config_changes(resumed, recipe, contents)] == [Effect.NOTHING]
    source = Source(run="x", asked="newest", step=1, model=saved, vocabulary_path="x")
    spans = dataclasses.replace(recipe.model, head="span_extraction")
    for model in (recipe.model, spans):  # what a new head lacks there, it makes anew
        check_source(source, model, vocabulary)
    raw = EarlierModel(config=dataclasses.replace(spans, label_transform=False), vocabulary=saved.vocabulary)
    of_spans = EarlierRun(model=raw, has_checkpoints=True)
    with pytest.raises(CheckpointError, match=r"another model \(config\.label_transform: False → True\)"):
        of_spans.check(directory, spans, vocabulary)


def test_mixtures_and_classes_of_version_0_are_read(tmp_path):
    directory = RunDirectory.at(tmp_path)
    history = MixtureHistory(phases=()).changed((Share(name="a", places=1 << 16),), position=0)
    classes = LabelClasses(("no", "yes"), ((1,), (2,)))
    directory.write_mixture(history)
    directory.write_classes(classes)
    for file, read, expected in (
        (directory.mixture_file, directory.read_mixture, history),
        (directory.classes_file, directory.read_classes, classes),
    ):
        assert read() == expected
        rewritten(file, unversioned)
        assert read() == expected
        rewritten(file, of_a_newer_version)
        with pytest.raises(ConfigError, match=f"{file.name} {NEWER}"):
            read()


@pytest.mark.fault(
    "a file of a run was written by a newer t5lite",
    "refused by name; a checkpoint is passed over for the newest that is read",
    "2, 0",
)
def test_the_metadata_of_a_checkpoint_of_version_0_is_read_and_a_newer_one_is_passed_over(tmp_path):
    directory = RunDirectory.at(tmp_path)
    metadata = {"step": 20, "examples_seen": 160}
    file = saved_checkpoint(directory, metadata)
    assert read_metadata(directory.checkpoints, 20) == metadata
    file.write_text(json.dumps(METADATA_VERSIONS.stamped(metadata)))
    assert read_metadata(directory.checkpoints, 20) == metadata
    rewritten(file, of_a_newer_version)
    with pytest.raises(DamagedCheckpointError, match=NEWER):
        read_metadata(directory.checkpoints, 20)


@pytest.mark.parametrize(
    "versions",
    [
        run_config.VERSIONS,
        model_file.VERSIONS,
        run_directory.MIXTURE_VERSIONS,
        run_directory.CLASSES_VERSIONS,
        config_history.VERSIONS,
        rollback.VERSIONS,
        attempts.VERSIONS,
        reporting.VERSIONS,
        METADATA_VERSIONS,
    ],
)
def test_migrations_lead_from_every_version_to_this_one(versions: Versions):
    assert set(versions.migrations) == set(range(versions.current))
    for damaged in ("1", 1.0, True, None, -1):
        with pytest.raises(ConfigError, match="its version is"):
            versions.migrated({"version": damaged}, name="x")


def test_each_version_is_migrated_by_its_own_step_and_all_after_it():
    versions = Versions(
        {number: lambda content, n=number: content | {"seen": [*content["seen"], n]} for number in range(3)}
    )
    for start in range(4):
        found = versions.migrated({"version": start, "seen": []}, name="x")
        assert found == {"seen": [*range(start, 3)]}
    assert versions.stamped({"a": 1}) == {"version": 3, "a": 1}
