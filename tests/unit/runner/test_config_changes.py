"""What a change of settings does to a run that goes on: the table, and who is asked."""

import dataclasses
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.core.errors import ConfigError
from t5lite.data.position import DataPosition
from t5lite.run_config import RunConfig
from t5lite.runner.config_changes import (
    EFFECTS,
    Effect,
    change_messages,
    check_changes,
    check_names,
    config_changes,
    effect_of,
)
from t5lite.runner.resumption import Resumption

E2E = Path(__file__).parents[2] / "e2e"
CONFIG = run_config.load(E2E / "tiny_recipe.py")
MIXTURE = run_config.load(E2E / "tiny_mixture_recipe.py")


def saved(config: RunConfig, contents=None) -> Resumption:
    values = run_config.to_json(config)
    return Resumption(step=20, position=DataPosition(160), saved_config=values, contents=contents or {})


def contents_of(config: RunConfig) -> dict[str, str]:
    return {".".join(field): f"of {place}" for field, place in config.stores.items()}


def changes(before: RunConfig, after: RunConfig, contents=None):
    return config_changes(saved(before, contents_of(before)), after, contents or contents_of(after))


def fields(kind, path=()):
    """The path of every field below a dataclass, whatever class a union takes."""
    for field in dataclasses.fields(kind):
        yield (*path, field.name)
        hint = typing.get_type_hints(kind)[field.name]
        inner = [
            hint,
            *typing.get_args(hint),
            *(a for b in typing.get_args(hint) for a in typing.get_args(b)),
        ]
        named = path == ("data",) and field.name == "sources"
        for each in filter(dataclasses.is_dataclass, inner):
            yield from fields(each, (*path, field.name, *(("*",) if named else ())))


def test_the_table_has_every_part_of_a_configuration_and_no_field_that_is_none():
    found = set(fields(RunConfig))
    assert {path[0] for path in found} <= EFFECTS.keys()
    assert {tuple(field.split(".")) for field in EFFECTS} <= found


@pytest.mark.parametrize(
    ("field", "effect"),
    [
        ("seed", Effect.ORDER),
        ("training.batch_size", Effect.COURSE),
        ("training.log_every_steps", Effect.NOTHING),
        ("partitioning.fsdp", Effect.NOTHING),
        ("schedule.peak", Effect.COURSE),
        ("data.store", Effect.EXPERIMENT),
        ("data.inputs_length", Effect.ORDER),
        ("data.objective.noise_density", Effect.EXPERIMENT),
        ("data.max_epochs", Effect.NOTHING),
        ("data.sources.verses", Effect.COURSE),
        ("data.sources.verses.weight", Effect.COURSE),
        ("data.sources.verses.data.pack", Effect.ORDER),
        ("data.sources.verses.data.store", Effect.EXPERIMENT),
        ("data.sources.verses.data.objective", Effect.EXPERIMENT),
        ("evaluations.heldout.store", Effect.NOTHING),
        ("model.attention.windows", Effect.EXPERIMENT),
        ("execution.attention", Effect.NOTHING),
        ("execution.compute_dtype", Effect.COURSE),
        ("model.embed_dim", Effect.EXPERIMENT),
        ("colour", Effect.EXPERIMENT),
    ],
)
def test_what_a_change_does(field: str, effect: Effect):
    assert effect_of(field.split(".")) is effect


def refusal(found) -> str:
    with pytest.raises(ConfigError, match="would not be the same experiment") as error:
        check_changes(found, allowed=(), step=20, run="runs/x")
    return str(error.value)


LEAVES = {
    "seed": st.integers(1, 9),
    "data.inputs_length": st.integers(33, 64),
    "data.store": st.sampled_from(["/elsewhere", "gs://b/x"]),
    "training.batch_size": st.integers(9, 16),
    "training.log_every_steps": st.integers(2, 9),
    "loader.num_workers": st.integers(1, 3),
    "evaluations.heldout.max_examples": st.integers(1, 31),
}


@settings(deadline=None, max_examples=20)
@given(st.fixed_dictionaries({}, optional=LEAVES))
def test_the_flags_that_a_refusal_names_let_it_go_on_and_nothing_less(values):
    overrides = [word for field, value in values.items() for word in (f"--{field}", str(value))]
    found = changes(CONFIG, run_config.load(E2E / "tiny_recipe.py", overrides) if overrides else CONFIG)
    assert {change.field for change in found} == values.keys()
    needed = [change.field for change in found if change.effect.needs_leave]
    if not needed:
        check_changes(found, allowed=(), step=20, run="runs/x")
        return
    flags = refusal(found).rpartition(" by ")[2].replace("--allow-change ", "").split()
    assert flags == needed
    check_names(flags)
    check_changes(found, allowed=flags, step=20, run="runs/x")
    for left_out in flags:
        with pytest.raises(ConfigError, match=f"--allow-change {left_out}$"):
            check_changes(found, allowed={*flags} - {left_out}, step=20, run="runs/x")


def test_leave_for_a_part_is_leave_for_its_fields_and_not_for_others():
    found = changes(
        CONFIG, run_config.load(E2E / "tiny_recipe.py", ["--data.inputs-length", "40", "--seed", "1"])
    )
    with pytest.raises(ConfigError, match=r"--allow-change seed$"):
        check_changes(found, allowed=["data"], step=20, run="runs/x")
    with pytest.raises(ConfigError, match=r"--allow-change data\.inputs_length$"):
        check_changes(found, allowed=["data.inputs", "seed"], step=20, run="runs/x")


def test_data_of_another_kind_is_one_change():
    found = changes(CONFIG, dataclasses.replace(MIXTURE, run_dir=CONFIG.run_dir))
    assert [str(change) for change in found if change.field.startswith("data")] == [
        "data: PretrainingDataConfig → MixtureDataConfig"
    ]
    assert "--allow-change data;" not in refusal(found)
    assert "--allow-change data" in refusal(found)


def test_other_contents_of_a_store_are_noticed_and_a_moved_store_is_the_same():
    held = contents_of(CONFIG)
    (swapped,) = changes(CONFIG, CONFIG, {**held, "data.store": "other"})
    assert swapped.effect is Effect.EXPERIMENT
    assert "data.store: 'contents of data/train' → 'contents other'" in refusal([swapped])
    check_changes([swapped], allowed=["data.store"], step=20, run="runs/x")
    (heldout,) = changes(CONFIG, CONFIG, {**held, "evaluations.heldout.store": "other"})
    assert heldout.effect is Effect.NOTHING
    moved = run_config.load(E2E / "tiny_recipe.py", ["--data.store", "/moved"])
    (change,) = changes(CONFIG, moved, held)
    assert change.effect is Effect.NOTHING
    (change,) = changes(CONFIG, moved)
    assert change.effect is Effect.EXPERIMENT


def test_a_checkpoint_that_says_nothing_of_contents_has_nothing_to_compare():
    assert config_changes(saved(CONFIG), CONFIG, contents_of(CONFIG)) == []


def test_a_mixture_may_change_its_shares_and_sources_but_not_what_a_source_is():
    def with_source(place, **fields):
        sources = list(MIXTURE.data.sources)
        sources[place] = dataclasses.replace(sources[place], **fields)
        return dataclasses.replace(MIXTURE, data=dataclasses.replace(MIXTURE.data, sources=tuple(sources)))

    (change,) = changes(MIXTURE, with_source(0, weight=1.0))
    assert (str(change), change.effect) == ("data.sources.text.weight: 3.0 → 1.0", Effect.COURSE)
    longer = dataclasses.replace(MIXTURE.data.sources[0].data, inputs_length=64)
    (change,) = changes(MIXTURE, with_source(0, data=longer))
    assert "--allow-change data.sources.text.data.inputs_length" in refusal([change])
    added = with_source(0, name="a.b")  # a name that has a dot is a name
    assert {change.effect for change in changes(MIXTURE, added)} == {Effect.COURSE}
    held = contents_of(added)
    (change,) = changes(added, added, {**held, "data.sources.a.b.data.store": "other"})
    check_names([change.field])
    check_changes([change], allowed=[change.field], step=20, run="runs/x")


def test_names_that_are_no_fields_are_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"--allow-change sead names no field; did you mean 'seed'\?"):
        check_names(["sead"])


def test_what_is_said_of_changes_has_what_they_do():
    after = run_config.load(E2E / "tiny_recipe.py", ["--seed", "5", "--training.batch-size", "16"])
    nothing, course, order = ("run_dir: 'a' → 'b'", "training.batch_size: 8 → 16", "seed: 0 → 5")
    found = changes(dataclasses.replace(CONFIG, run_dir="a"), dataclasses.replace(after, run_dir="b"))
    messages = change_messages(found)
    assert [
        message.partition(" (")[0].rpartition("note: ")[2].rpartition("started: ")[2] for message in messages
    ] == [
        nothing,
        course,
        order,
    ]
    assert messages[-1].endswith("leave out some that were not); allowed by --allow-change")
