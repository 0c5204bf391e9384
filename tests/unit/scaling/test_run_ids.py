"""Names of a sweep's runs: what they go by, and what not."""

import json
import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.core.storage.addresses import place
from t5lite.data.pipeline import PairsDataConfig
from t5lite.models.config import Execution
from t5lite.partitioning import PartitioningConfig
from t5lite.run_config import InitializeFrom
from t5lite.scaling.run_ids import run_id

RECIPE = run_config.load(place("configs/pretrain_gpt.py"))


def contents(path: str) -> str:
    """A store's contents are told by the last part of its name here."""
    return path.rpartition("/")[2]


def moved(config, where="/elsewhere"):
    """The same run on another machine."""
    return replace(
        config,
        run_dir=f"{where}/run",
        data=config.data.with_stores(lambda store: f"{where}/{store}"),
        evaluations={
            name: replace(each, store=f"{where}/{each.store}") for name, each in config.evaluations.items()
        },
        partitioning=PartitioningConfig(style="fsdp", fsdp=4),
        execution=Execution(remat="full"),
        lease=replace(config.lease, patience_seconds=1.0),
        training=replace(config.training, log_every_steps=7),
    )


def test_the_name_of_a_run_does_not_say_where_and_how_it_is_trained():
    assert run_id(RECIPE, contents) == run_id(moved(RECIPE), contents)
    numbers = replace(RECIPE, step=replace(RECIPE.step, max_gradient_norm=1))
    assert run_id(RECIPE, contents) == run_id(numbers, contents)


CHANGES = {
    "seed": lambda run: replace(run, seed=1),
    "width": lambda run: replace(run, model=replace(run.model, embed_dim=64)),
    "dropout": lambda run: replace(run, model=replace(run.model, dropout_rate=0.1)),
    "rate": lambda run: replace(run, schedule=run.schedule.scaled(rate=2)),
    "steps": lambda run: replace(run, training=replace(run.training, total_steps=601)),
    "patience": lambda run: replace(run, training=replace(run.training, spike_threshold=None)),
    "dtype": lambda run: replace(run, execution=Execution(compute_dtype="bfloat16")),
    "frozen": lambda run: replace(run, trainable=("decoder",)),
    "store": lambda run: replace(run, data=run.data.with_stores(lambda _: "other")),
    "measured": lambda run: replace(
        run, evaluations={"heldout": replace(run.evaluations["heldout"], max_examples=7)}
    ),
    "objective": lambda run: replace(run, data=replace(run.data, inputs_length=32)),
}


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(names=st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, unique=True), order=st.randoms())
def test_whatever_is_learnt_otherwise_has_another_name_whatever_the_order(names, order: random.Random):
    def changed(names):
        run = RECIPE
        for name in names:
            run = CHANGES[name](run)
        return run_id(run, contents)

    shuffled = order.sample(names, len(names))
    assert changed(names) == changed(shuffled) != run_id(RECIPE, contents)
    assert changed(names) != changed(names[:-1])


def test_a_source_and_a_task_are_what_is_in_them(tmp_path):
    def begun_with(folder):
        return run_id(replace(RECIPE, initialize_from=InitializeFrom(run=str(tmp_path / folder))), contents)

    for folder, seed in {"a/base": 0, "b/base": 1, "copied/c": 1}.items():
        (tmp_path / folder).mkdir(parents=True)
        run_config.save(replace(RECIPE, seed=seed), tmp_path / folder / "config.json")
    assert begun_with("a/base") != begun_with("b/base") == begun_with("copied/c")
    assert begun_with("a/imported") != begun_with("b/imported")

    pairs = replace(run_config.load(place("configs/pretrain_laptop.py")), data=PairsDataConfig(store="pairs"))

    def measured_by(file):
        heldout = replace(RECIPE.evaluations["heldout"], task=str(tmp_path / file))
        return run_id(replace(pairs, evaluations={"heldout": heldout}), contents)

    for file, inputs in {"a/task.json": "a: {x}", "b/task.json": "b: {x}", "copied/b.json": "b: {x}"}.items():
        (tmp_path / file).write_text(json.dumps({"name": "mine", "inputs": inputs}), encoding="utf-8")
    assert measured_by("a/task.json") != measured_by("b/task.json") == measured_by("copied/b.json")
