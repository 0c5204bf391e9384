"""Branches from one trunk: runs that are one run until the first decays, which a sweep trains once."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.cli import sweep_command
from t5lite.cli.main import main
from t5lite.cli.sweep_recipes import write_recipes
from t5lite.core.errors import ConfigError
from t5lite.core.storage.addresses import place
from t5lite.optim import Constant, WarmupCosine, WarmupStableDecay
from t5lite.run_origins import ContinueFrom
from t5lite.scaling import sweep_epochs, sweep_running, sweeps
from t5lite.scaling.budgets import Tokens
from t5lite.scaling.hyperparameters import Marin
from t5lite.scaling.ladders import branches
from t5lite.scaling.run_ids import run_id
from t5lite.scaling.sweep_running import Processes, lacking, run_all
from t5lite.scaling.sweeps import Sweep, expand
from t5lite.scaling.trunks import shared_parts

RECIPE = run_config.load(place("configs/pretrain_gpt.py"))
RECIPE = replace(
    RECIPE,
    schedule=WarmupStableDecay(peak=0.01, warmup_steps=7, decay_steps=120),
    training=replace(RECIPE.training, total_steps=600),
)
ROW = RECIPE.training.batch_size * 64
"""Tokens of a step."""


def of_lengths(*steps: int, recipe=RECIPE, **settings):
    budgets = [Tokens(tokens=each * ROW) for each in steps]
    return branches(recipe, models=[recipe.model], budgets=budgets, **settings)


def rates(run):
    return np.asarray(run.schedule.build(run.training.total_steps)(np.arange(4096)))  # compiled once


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(lengths=st.sets(st.integers(20, 3000), min_size=2, max_size=5), order=st.randoms())
def test_each_goes_on_where_the_next_shorter_one_decays_and_has_the_rates_of_its_own(lengths, order):
    runs = of_lengths(*order.sample(sorted(lengths), len(lengths)))
    by_length = {str(run.training.total_steps): run for run in runs}
    shared = shared_parts(by_length)
    shorter, *longer = sorted(lengths)
    assert {*shared} == {str(each) for each in longer}
    for length in longer:
        run, (name, step) = by_length[str(length)], shared[str(length)]
        source = by_length[name]
        assert step == int(name) - source.schedule.decay_steps
        assert name == str(shorter) or step >= shared[name].step
        assert source.checkpoints.keep_steps == (step,)
        assert np.array_equal(rates(run)[:step], rates(source)[:step])
        assert run.schedule.decay_steps == pytest.approx(length / 5, abs=1)
        shorter = length


def test_runs_that_differ_otherwise_share_nothing():
    short, long = of_lengths(100, 200)
    assert shared_parts({"a": short, "b": long})["b"] == ("a", 80)
    for other in (
        replace(long, seed=1),
        replace(long, schedule=long.schedule.scaled(rate=2)),
        replace(long, schedule=replace(long.schedule, warmup_steps=8)),
        replace(long, schedule=replace(long.schedule, decay_steps=130)),
        replace(long, training=replace(long.training, batch_size=64)),
    ):
        assert shared_parts({"a": short, "b": other}) == {}
    assert shared_parts({"a": replace(short, checkpoints=RECIPE.checkpoints), "b": long}) == {}
    for step, shared in ((79, {"b": ("a", 80)}), (80, {})):  # both begin after what would be kept
        begun = {
            name: replace(run, continue_from=ContinueFrom(run="/x", step=step))
            for name, run in {"a": short, "b": long}.items()
        }
        assert shared_parts(begun) == shared


def test_what_cannot_branch_is_refused():
    for schedule in (WarmupCosine(peak=0.01, warmup_steps=7), Constant()):
        with pytest.raises(ConfigError, match=rf"schedule={type(schedule).__name__} has no constant phase"):
            of_lengths(100, 200, recipe=replace(RECIPE, schedule=schedule))
    late = replace(RECIPE, schedule=replace(RECIPE.schedule, warmup_steps=90))
    with pytest.raises(
        ConfigError, match=r"tokens=204800\) at width 128: 100 steps do not hold a warm-up of 90"
    ):
        of_lengths(100, 200, recipe=late)
    with pytest.raises(ConfigError, match=r"are both 100 steps at width 128; leave one"):
        of_lengths(100, 200, 100)
    with pytest.raises(ConfigError, match=r"rule has other settings for .*training\.batch_size"):
        of_lengths(100, 10_000, rule=Marin(num_steps=100, max_rate=1.0))
    by_epochs = replace(RECIPE, training=replace(RECIPE.training, epochs=2.0))
    with pytest.raises(ConfigError, match="epochs"):
        of_lengths(100, 200, recipe=by_epochs)


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "store_identity", str)
    runs = [replace(run, evaluations={}) for run in of_lengths(100, 200, 400)]
    return Sweep(directory=str(tmp_path / "sweep"), families={"gpt": runs}, evaluate=False)


def test_a_branch_has_the_name_of_the_run_that_it_is(sweep):
    runs, _ = expand(sweep)
    for run in runs:
        alone = replace(run.config, checkpoints=RECIPE.checkpoints)
        assert run_id(alone, str) == run.id
    fewer, _ = expand(replace(sweep, families={"gpt": sweep.families["gpt"][1:]}))
    assert [run.id for run in fewer] == [run.id for run in runs[1:]]
    assert [run.trunk and run.trunk.step for run in runs] == [None, 80, 160]
    assert runs[2].started.continue_from == ContinueFrom(run=runs[1].config.run_dir, step=160)
    assert runs[2].count.tokens == 400 * ROW
    assert runs[2].own_steps == 240
    begun = replace(runs[0].config, continue_from=ContinueFrom(run="/x", step=30))
    assert replace(runs[0], config=begun).own_steps == 70
    # What a recipe itself goes on from is another matter.
    assert run_id(replace(RECIPE, continue_from=ContinueFrom(run="/x", step=3)), str) != run_id(RECIPE, str)


class Fake(Processes):
    """Keeps the checkpoints that runs are to keep; ends with the codes that it is given."""

    def __init__(self, there, **codes):
        super().__init__()
        self.there, self.codes, self.trained = there, codes, []

    def train(self, run):
        self.trained.append((run.id, run.trunk and run.trunk.step))
        if (code := self.codes.get(run.id, 0)) == 0:
            self.there[run.config.run_dir] = [*run.config.checkpoints.keep_steps]
        return code


@pytest.fixture
def there(monkeypatch):
    """The checkpoints of runs, by their directories; those with any are finished."""
    found: dict[str, list[int]] = {}
    monkeypatch.setattr(sweep_running, "available_steps", lambda path: found.get(str(path.parent), []))
    monkeypatch.setattr(
        sweeps.SweepRun,
        "state",
        lambda run: ("finished" if run.config.run_dir in found else "waiting", 0),
    )
    return found


def outcome_of(runs, fake):
    said: list[str] = []
    return run_all(runs, fake, evaluate=False, say=said.append, finished=lambda run: None), said


def test_a_run_is_trained_after_the_one_that_it_goes_on_from(sweep, there):
    runs, _ = expand(sweep)
    fake = Fake(there)
    outcome, _ = outcome_of(runs[::-1], fake)
    assert fake.trained == [(run.id, step) for run, step in zip(runs, (None, 80, 160), strict=True)]
    assert {*outcome.done} == {run.id for run in runs}


def test_where_one_fails_those_that_go_on_from_it_wait(sweep, there):
    runs, _ = expand(sweep)
    outcome, said = outcome_of(runs, Fake(there, **{runs[1].id: 4}))
    assert (outcome.done, outcome.waiting, outcome.exit_code) == ([runs[0].id], [runs[2].id], 4)
    assert any(f"waits for step 160 of {runs[1].id}, which is not trained so far" in line for line in said)


def test_what_a_finished_run_did_not_keep_is_trained_from_the_start(sweep, there):
    runs, _ = expand(sweep)
    there[runs[0].config.run_dir] = [100]
    fake = Fake(there)
    _, said = outcome_of(runs, fake)
    assert fake.trained == [(runs[1].id, None), (runs[2].id, 160)]
    assert any(f"{runs[0].id} is finished and keeps no checkpoint of step 80" in line for line in said)


def test_what_a_chosen_run_goes_on_from_is_trained_too(sweep, there):
    runs, _ = expand(sweep)
    assert lacking(runs) == []
    assert lacking(runs[2:]) == runs[:2]
    there[runs[1].config.run_dir] = [160]
    assert lacking(runs[2:]) == []


def test_a_run_that_is_finished_needs_no_checkpoint_any_more(sweep, there):
    runs, _ = expand(sweep)
    there[runs[2].config.run_dir] = []  # all are deleted, and those of the run that it went on from
    assert lacking(runs[2:]) == []
    outcome, _ = outcome_of(runs[2:], Fake(there))
    assert (outcome.done, outcome.waiting) == ([runs[2].id], [])


def test_a_recipe_says_where_a_run_can_go_on(sweep, there, tmp_path, capsys):
    runs, _ = expand(sweep)
    there[runs[0].config.run_dir] = [100]  # which is finished, and keeps no step 80
    write_recipes(tmp_path, runs, launch=None, say=sweep_command._say)
    origins = [run_config.load(tmp_path / f"{run.id}.json").continue_from for run in runs[1:]]
    assert [origin and origin.step for origin in origins] == [None, 160]
    said = capsys.readouterr().err
    assert f"{runs[0].id} is finished and keeps no checkpoint of step 80: trained from the start" in said
    assert "1 of them go on from a checkpoint" in said


FILE = """
from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s

def sweep():
    recipe = s.recipe("configs/pretrain_gpt.py")
    wsd = r.WarmupStableDecay(peak=0.01, warmup_steps=7, decay_steps=120)
    runs = s.branches(
        r.replace(recipe, schedule=wsd),
        models=s.constant_aspect(recipe.model, (64, 128)),
        budgets=[s.Tokens(tokens=tokens) for tokens in (204_800, 409_600)],
    )
    return s.Sweep(directory={directory!r}, families={{"gpt": runs}})
"""


def test_the_command_leaves_accelerators_to_the_runs(monkeypatch):
    """It compares rates by JAX, which would take the devices that the processes of its runs are to have."""
    done: list[tuple[str, ...]] = []

    def read(file):
        done.append(("read",))
        raise ConfigError(f"{file} is enough")

    config = SimpleNamespace(update=lambda *setting: done.append(setting))
    monkeypatch.setattr(sweep_command, "jax", SimpleNamespace(config=config))
    monkeypatch.setattr(sweep_command, "read_sweep", read)
    assert main(["sweep", "sweep.py"]) == 2
    assert done == [("jax_platforms", "cpu"), ("read",)]


def test_the_command_shows_what_is_saved_and_writes_where_runs_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweeps, "store_identity", str)
    data = SimpleNamespace(num_examples=100_000)
    monkeypatch.setattr(sweep_epochs, "open_pipeline", lambda data_config, **settings: data)
    file = tmp_path / "sweep.py"
    file.write_text(FILE.format(directory=str(tmp_path / "sweep")), encoding="utf-8")
    assert main(["sweep", str(file), "--list"]) == 0
    listed = capsys.readouterr().out
    assert listed.count(" at 80") == 2
    assert "440 steps are trained" in listed
    assert "in place of 600" in listed
    assert main(["sweep", str(file), "--list", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert sorted((run["steps"], run["own_steps"]) for run in runs) == [(100, 100)] * 2 + [(200, 120)] * 2
    longest = next(run["run"] for run in runs if run["trunk"])
    assert main(["sweep", str(file), "--list", "--only", longest]) == 0
    captured = capsys.readouterr()
    assert "2 runs" in captured.out
    assert "taken as well, for others go on from there: " in captured.err
    assert main(["sweep", str(file), "--write-recipes", str(tmp_path / "recipes")]) == 0
    captured = capsys.readouterr()
    assert "2 of them go on from a checkpoint" in captured.err
    for run in runs:
        config = run_config.load(tmp_path / "recipes" / f"{run['run']}.json")
        origin = config.continue_from
        assert (origin and origin.step) == (run["trunk"] and run["trunk"]["step"])
        assert origin is None or origin.run.endswith(f"sweep/runs/{run['trunk']['run']}")
