"""A run that goes on from another one's checkpoint: what it takes of its past, and what is refused."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.core.errors import CheckpointError, ConfigError, DamagedCheckpointError
from t5lite.core.storage.addresses import place
from t5lite.data.left_out import LeftOut
from t5lite.evaluation.config import EvaluationConfig
from t5lite.run_config import load
from t5lite.run_origins import ContinueFrom
from t5lite.runner.continuing import find_continued, take_rollbacks
from t5lite.runner.early_stopping import early_stopping
from t5lite.runner.rollback import Rollback, read_rollbacks, write_rollbacks
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.run_files import write_files
from t5lite.runner.training import _is_finished
from t5lite.training.metrics_log import MetricsLog, read_metrics
from tests.unit.runner import test_run_plan as plans

run, trained = plans.run, plans.trained


def continued(run: Path, step: int = 1):
    return replace(plans.config(run.with_name("begun")), continue_from=ContinueFrom(run=str(run), step=step))


def rollback(to_step: int) -> Rollback:
    seen = {"first_example": 10 * to_step, "last_example": 10 * to_step + 4}
    return Rollback(to_step=to_step, first_bad_step=3, last_bad_step=4, reason="a spike", **seen)


def test_what_was_measured_and_left_out_up_to_there_is_carried_on(run):
    write_rollbacks(RunDirectory.at(run), [rollback(0), rollback(1)])
    lines = [{"kind": "compile", "step": 1}, {"kind": "train", "step": 1}, {"kind": "train", "step": 2}]
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    begun, _ = plans.planned(continued(run))
    past = begun.plan.past
    assert past is not None
    shutil.rmtree(run)  # what was planned is taken, whatever becomes of that run
    take_rollbacks(past, begun.directory)
    assert read_rollbacks(begun.directory).rollbacks == (rollback(0),)
    assert read_rollbacks(begun.directory).left_out(None) == LeftOut.of([(0, 5)])
    before = begun.directory.path / "metrics.jsonl"
    Path(before).write_text('{"kind": "train", "step": 1, "loss": 9}\n')  # of a start that saved nothing
    for _ in range(2):
        log = MetricsLog(begun.directory.path, start_step=1, earlier=past.metrics)
        assert log.has_evaluation(1, "heldout")
        assert not log.has_evaluation(2, "heldout")
        log.close()
        assert [(each["kind"], each["step"]) for each in read_metrics(before)] == [("eval", 1), ("train", 1)]
    write_rollbacks(begun.directory, [rollback(0), rollback(3)])
    take_rollbacks(past, begun.directory)  # its own stay
    assert len(read_rollbacks(begun.directory).rollbacks) == 2


def test_what_the_other_run_was_told_to_go_back_to_is_not_carried_on(run):
    begun, resumed = (plans.planned(one)[0].plan for one in (continued(run), plans.config(run)))
    for plan, carried in ((begun, None), (resumed, 1)):
        assert plan.resumed is not None
        assert replace(plan, resumed=replace(plan.resumed, went_back=1)).went_back == carried


def test_steps_to_keep_that_a_run_will_not_come_to_are_said(run):
    checkpoints = CheckpointConfig(keep_steps=(1, 2, 3, 4, 5))
    for one, lost in ((continued(run, 2), "1, 2, 5"), (plans.config(run), "5")):
        begun, _ = plans.planned(replace(one, checkpoints=checkpoints))
        (said,) = begun.plan.messages
        assert f"checkpoints.keep_steps names {lost}, which will not be saved: the run goes from" in said
    assert plans.planned(plans.config(run))[0].plan.messages == ()


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_run_that_begins_where_early_stopping_is_over_is_a_run_before_it_is_finished(run, is_begun):
    evaluations = {"heldout": EvaluationConfig(store=str(run.with_name("store")), batch_size=2)}
    one = replace(continued(run, 2), evaluations=evaluations)
    one = replace(one, training=replace(one.training, early_stopping_patience=1))
    begun, _ = plans.planned(replace(one, run_dir=str(run), continue_from=None) if is_begun else one)
    assert early_stopping(begun.config, begun.plan.evaluations).is_over
    assert _is_finished(begun) is is_begun


def test_a_run_that_has_a_checkpoint_needs_the_other_no_more(run):
    elsewhere = ContinueFrom(run=str(run.with_name("gone")), step=1)
    resumed, _ = plans.planned(replace(plans.config(run), continue_from=elsewhere))
    assert (resumed.plan.step, resumed.plan.continued) == (2, None)


def test_what_cannot_be_gone_on_from_is_refused(run, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"no checkpoint of step 3 \(it has 1, 2\).*--checkpoints.keep-steps 3"
    ):
        find_continued(continued(run, 3))
    (run / "checkpoints" / "1").rename(run / "old")
    with pytest.raises(CheckpointError, match=r"\(it has 2\); name one that is there, .* is past it"):
        find_continued(continued(run, 1))
    (run / "old").rename(run / "checkpoints" / "1")
    with pytest.raises(ConfigError, match=r"leaves no step of training\.total_steps=4"):
        continued(run, 4)
    with pytest.raises(ConfigError, match=r"continue_from\.run is run_dir itself"):
        replace(continued(run), run_dir=str(run))
    with pytest.raises(ConfigError, match="step=0 must be 1 or more"):
        ContinueFrom(run="x", step=0)
    with pytest.raises(ConfigError, match=r"is not a run"):
        find_continued(continued(tmp_path / "nothing"))
    wide = replace(continued(run), model=replace(continued(run).model, mlp_dim=16))
    with pytest.raises(ConfigError, match=r"model\.mlp_dim=16, there 8"):
        plans.planned(wide)
    said = rf"goes on from step 1 of {re.escape(str(run))}, and would not be the same.*--allow-change seed"
    with pytest.raises(ConfigError, match=said):
        plans.planned(replace(continued(run), seed=1))
    file = RunDirectory.at(run).checkpoints / "1" / "metadata" / "metadata"
    Path(file).write_text("{")
    said = r"checkpoints/1 cannot be read: [^;]*; name another step of that run by --continue-from\.step, or"
    with pytest.raises(CheckpointError, match=said):
        plans.planned(continued(run))


def test_a_run_whose_checkpoints_are_all_damaged_begins_again_where_it_began(run):
    begun, _ = plans.planned(continued(run))
    Path(begun.directory.path).mkdir()
    write_files(begun)
    own = Path(shutil.copytree(run / "checkpoints" / "2", begun.directory.checkpoints / "2"))
    (own / "metadata" / "metadata").write_text("{")
    again, start = plans.planned(continued(run))
    assert (again.plan.step, again.plan.set_aside, again.plan.num_damaged) == (1, (2,), 1)
    assert again.plan.continued == begun.plan.continued
    assert f"step 1 of {run}" in start.origin
    assert any("going on from step 1, 1 steps are trained again" in each for each in again.plan.messages)
    stopping = replace(continued(run), checkpoints=CheckpointConfig(on_damage="stop"))
    with pytest.raises(DamagedCheckpointError, match="checkpoints/2"):
        plans.planned(stopping)
    shutil.rmtree(run)
    said = r"none of the 2 checkpoints can be read \(steps 1, 2\); of the newest: .*checkpoints/2"
    with pytest.raises(CheckpointError, match=said):
        plans.planned(continued(run))


def test_the_command_line_names_a_run_where_the_recipe_has_none():
    recipe = place("tests/e2e/tiny_recipe.py")
    words = ("--continue-from.run", "/a", "--continue-from.step", "7")
    assert load(recipe, words).continue_from == ContinueFrom(run="/a", step=7)
    with pytest.raises(ConfigError, match=r"by --continue-from\.run RUN --continue-from\.step STEP"):
        load(recipe, words[:2])
    assert load(recipe, ("--continue-from", "None")).continue_from is None
