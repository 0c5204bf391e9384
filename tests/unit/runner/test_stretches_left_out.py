"""What a rollback takes back, leaves out and records, and when there are no more."""

import json

import jax.numpy as jnp
import pytest

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.reading import available_steps
from t5lite.core.errors import ConfigError, NumbersError
from t5lite.data.left_out import LeftOut
from t5lite.data.position import DataPosition
from t5lite.runner.resumption import Resumption
from t5lite.runner.rollback import Rollback, Stretch, read_rollbacks, roll_back, write_rollbacks
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.bad_steps import Incident


@pytest.fixture
def directory(tmp_path):
    return RunDirectory.at(tmp_path)


@pytest.fixture
def checkpoints(directory):
    with Checkpoints(directory.checkpoints, CheckpointConfig(keep_last=9)) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(step, {"w": jnp.full(3, step)}, {})
        yield checkpoints


def stretch(directory, start_step=20, **fields):
    position = DataPosition(start_step * 8)
    return Stretch(directory=directory, start_step=start_step, position=position, batch_size=8, **fields)


def test_it_goes_to_the_newest_checkpoint_that_a_loss_vouches_for(directory, checkpoints):
    """The loss of step 32 was bad, for state 31 or for its batch; that of step 31 vouches for state 30."""
    said = roll_back(Incident(32, 35, "bad"), stretch(directory), checkpoints, at_most=2)
    assert available_steps(directory.checkpoints) == [10, 20, 30]
    assert said == (
        "bad; going back to step 30, without the examples 240 to 279 from now on (rollback 1 of at most 2 to "
        "there)"
    )
    assert read_rollbacks(directory).left_out(None) == LeftOut(((240, 280),))


def test_what_may_be_bad_is_set_aside(directory, checkpoints):
    roll_back(Incident(31, 33, "bad"), stretch(directory), checkpoints, at_most=2)
    assert available_steps(directory.checkpoints) == [10, 20]
    assert (directory.checkpoints / "30.set-aside").is_dir()
    assert read_rollbacks(directory).left_out(None) == LeftOut(((232, 264),))


def test_without_a_good_checkpoint_it_starts_anew(directory, checkpoints):
    said = roll_back(Incident(2, 4, "bad"), stretch(directory, start_step=0), checkpoints, at_most=2)
    assert "going back to the start, without the examples 0 to 31" in said
    assert available_steps(directory.checkpoints) == []


def test_a_run_that_goes_on_from_another_goes_back_to_where_it_began(directory):
    """What that one had left out before, for a return to its own start, is no try of this one."""
    before = [
        Rollback(to_step=0, first_bad_step=2, last_bad_step=4, first_example=0, last_example=31, reason="")
    ]
    write_rollbacks(directory, before)
    now = stretch(directory, begin_step=20)
    with Checkpoints(directory.checkpoints, CheckpointConfig()) as checkpoints:
        said = roll_back(Incident(22, 23, "bad"), now, checkpoints, at_most=1)
        assert "going back to step 20, without the examples 160 to 183 from now on (rollback 1 of" in said
        with pytest.raises(
            NumbersError, match=r"1 rollbacks that left out the examples 160 to 183 did not .*20$"
        ):
            roll_back(Incident(22, 23, "bad"), now, checkpoints, at_most=1)
    assert [each.in_vain for each in read_rollbacks(directory).rollbacks] == [False, True]


def test_an_incident_right_after_a_start_leaves_out_what_that_start_has_seen(directory, checkpoints):
    roll_back(Incident(21, 22, "bad"), stretch(directory), checkpoints, at_most=2)
    assert available_steps(directory.checkpoints) == [10]
    assert read_rollbacks(directory).left_out(None) == LeftOut(((160, 176),))


def test_gaps_are_places_and_add_up_with_those_of_the_checkpoint(directory, checkpoints):
    before = LeftOut(((240, 280),))
    roll_back(Incident(32, 35, "bad"), stretch(directory, left_out=before), checkpoints, at_most=2)
    (rollback,) = json.loads(directory.rollbacks_file.read_text())["rollbacks"]
    assert (rollback["first_example"], rollback["last_example"]) == (280, 319)
    resumed = Resumption(step=30, position=DataPosition(240), left_out=before)
    assert read_rollbacks(directory).left_out(resumed) == LeftOut(((240, 320),))


def test_after_so_many_to_one_checkpoint_it_gives_up_and_leaves_out_nothing(directory, checkpoints):
    roll_back(Incident(12, 14, "earlier"), stretch(directory, start_step=0), checkpoints, at_most=1)
    assert available_steps(directory.checkpoints) == [10]
    checkpoints.save(20, {"w": jnp.full(3, 20)}, {})
    for _ in range(2):
        now = stretch(directory, left_out=read_rollbacks(directory).left_out(None))
        roll_back(Incident(22, 25, "bad"), now, checkpoints, at_most=2)
    message = (
        "bad again; the examples since the last good step are 272 to 311, and 2 rollbacks that left out the "
        "examples 192 to 231; 232 to 271 did not help, so that these are trained on again; lower the "
        r"learning rate or .*: that resumes from step 20$"
    )
    now = stretch(directory, left_out=read_rollbacks(directory).left_out(None))
    with pytest.raises(NumbersError, match=message):
        roll_back(Incident(22, 25, "bad again"), now, checkpoints, at_most=2)
    assert read_rollbacks(directory).left_out(None) == LeftOut(((80, 112),))
    recorded = json.loads(directory.rollbacks_file.read_text())["rollbacks"]
    assert [(each["to_step"], each["in_vain"]) for each in recorded] == [(10, False), (20, True), (20, True)]
    roll_back(Incident(22, 25, "bad"), stretch(directory), checkpoints, at_most=1)  # the next start may again


def test_none_at_all_ends_at_once_without_what_is_bad(directory, checkpoints):
    with pytest.raises(NumbersError, match=r"since the last good step are 232 to 263; lower .* from step 20"):
        roll_back(Incident(31, 33, "bad"), stretch(directory), checkpoints, at_most=0)
    assert available_steps(directory.checkpoints) == [10, 20]


def test_a_damaged_record_is_refused(directory):
    directory.rollbacks_file.write_text('{"rollbacks": [{"to_step": "10"}]}')
    with pytest.raises(ConfigError, match=r"rollbacks\.json"):
        read_rollbacks(directory).left_out(None)
