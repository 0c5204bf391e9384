"""A run that begins from an adapter's: what it takes of that, of its base, and of neither."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.adapters import Adaptation, Base, LoRA, NoAdapter
from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.reading import leaf_names
from t5lite.core.errors import ConfigError
from t5lite.core.types import Tree
from t5lite.data.examples.label_classes import LabelClasses
from t5lite.models.config import EncoderOnlyConfig
from t5lite.models.functional import FunctionalModel, build
from t5lite.optim.trained import resolve_trained
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.adapted import check_saved_or_of_base, chosen_leaves
from t5lite.runner.inheritance import unused_settings
from t5lite.runner.initialization import Source, restore_adapter
from t5lite.runner.model_file import ModelFile, VocabularyFile
from t5lite.runner.run_directory import RunDirectory

BASE = EncoderOnlyConfig(
    vocab_size=20, embed_dim=8, mlp_dim=8, head_dim=4, num_heads=2, num_layers=1, head="masked_lm"
)
CLASSIFIER = dataclasses.replace(BASE, head="sequence_classification", num_labels=2)
LETTERS = LabelClasses(("a", "b"), ((3,), (4,)))
ADAPTER = LoRA(rank=1, targets=("*attention/query",))
HEAD = {f"{part}.dense.{name}" for part in ("classifier", "pooler") for name in ("bias", "kernel")}
CLASSES = {"classifier.dense.bias", "classifier.dense.kernel"}


def adapted(config: EncoderOnlyConfig) -> FunctionalModel:
    return ADAPTER.adapt(build(config))


def named(tree: Tree) -> dict[str, Any]:
    return dict(zip(leaf_names(tree), jax.tree.leaves(tree), strict=True))


def saved(run: Path, abstract: Tree, value: float) -> str:
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, value, leaf.dtype), abstract)
    with Checkpoints(RunDirectory.at(run).checkpoints, CheckpointConfig()) as checkpoints:
        checkpoints.save(1, {"params": params}, {})
    return str(run)


def source_of(tmp_path: Path, config: EncoderOnlyConfig, trained: tuple[str, ...]) -> Source:
    """Return a run whose parameters are all 2, beside a base whose parameters are all 1."""
    base = Base(run=saved(tmp_path / "base", build(BASE).abstract_params, 1), step=1, digest="")
    own = chosen_leaves(adapted(config).abstract_params, lambda name: any(part in name for part in trained))
    return Source(
        run=saved(tmp_path / "adapter", own, 2),
        asked="newest",
        step=1,
        model=ModelFile(
            architecture=config.architecture,
            config=config,
            vocabulary=VocabularyFile(extra_ids=0, fingerprint=""),
            adaptation=Adaptation(adapter=ADAPTER, base=base),
        ),
        vocabulary_path="",
        classes=LETTERS,
    )


def begun(source: Source, config: EncoderOnlyConfig, classes: LabelClasses | None, trained: Tree):
    partitioner = make_partitioner(PartitioningConfig(), jax.devices()[:1])
    return restore_adapter(source, adapted(config), partitioner, classes, trained=trained, seed=0)


@pytest.fixture(scope="module")
def classifying(tmp_path_factory) -> Source:
    return source_of(tmp_path_factory.mktemp("runs"), CLASSIFIER, ("_lora", "classifier", "pooler"))


def test_a_head_that_neither_has_is_made_and_must_be_trained(tmp_path):
    source, model = source_of(tmp_path, BASE, ("_lora",)), adapted(CLASSIFIER)
    params, report = begun(source, CLASSIFIER, LETTERS, model.abstract_params)
    assert {leaf.name for leaf in report.new} == HEAD
    for name, leaf in named(params).items():
        if name in HEAD:
            assert not np.isin(leaf, (1, 2)).any(), name
        else:
            np.testing.assert_array_equal(leaf, 2 if "_lora" in name else 1, err_msg=name)
    assert jax.tree.structure(params) == jax.tree.structure(model.abstract_params)
    check_saved_or_of_base(report, model.abstract_params)
    with pytest.raises(ConfigError, match=r"4 arrays are neither .* by --trainable classifier pooler"):
        check_saved_or_of_base(report, chosen_leaves(model.abstract_params, lambda name: "_lora" in name))


@pytest.mark.parametrize(
    ("changes", "classes", "new", "left", "reason"),
    [
        ({}, LETTERS, set(), set(), None),
        (
            {},
            LabelClasses(("no", "yes"), ((1,), (2,))),
            CLASSES,
            set(),
            "the source has the classes 'a', 'b'",
        ),
        ({"num_labels": 3}, LETTERS, CLASSES, set(), "the source has another number of outputs"),
        ({"head": "token_classification"}, None, CLASSES, HEAD - CLASSES, "the source has another head"),
        ({"head": "masked_lm"}, None, set(), HEAD, None),
    ],
)
def test_a_classifier_that_was_trained_beside_is_taken_for_the_same_classes_alone(
    classifying, changes, classes, new, left, reason
):
    config = dataclasses.replace(CLASSIFIER, **changes)
    params, report = begun(classifying, config, classes, adapted(config).abstract_params)
    assert {leaf.name for leaf in report.new} == new
    assert {leaf.name for leaf in report.left} == left
    assert str(report.reason).startswith(str(reason))
    taken = {name for name, leaf in named(params).items() if (np.asarray(leaf) == 2).all()}
    assert taken == {leaf.name for leaf in report.leaves}
    assert HEAD & named(params).keys() - new <= taken


def test_what_was_trained_and_would_be_saved_no_more_is_refused(classifying):
    trained = chosen_leaves(adapted(CLASSIFIER).abstract_params, lambda name: "_lora" in name)
    with pytest.raises(ConfigError, match=r"has trained 4 arrays .* by --trainable classifier pooler"):
        begun(classifying, CLASSIFIER, LETTERS, trained)


def test_an_adapter_of_which_nothing_is_left_is_refused(tmp_path):
    source = source_of(tmp_path, CLASSIFIER, ("classifier",))
    with pytest.raises(ConfigError, match=r"fits this model, for the .* number .* its base by"):
        begun(source, dataclasses.replace(CLASSIFIER, num_labels=3), None, {})


@pytest.mark.parametrize("targets", [("*",), ("*", "!encoder/layers/mlp/*")])
def test_a_new_head_is_trained_whole_whatever_the_adapter_adapts(targets):
    """Its kernels have nothing that A B could be added to, and are trained by what the message says."""
    everywhere = LoRA(rank=1, targets=targets)
    begun = LoRA().begun_from(everywhere, BASE, CLASSIFIER)
    assert isinstance(begun, LoRA)
    adapted, trainable = begun.adapt(build(CLASSIFIER)), begun.trained(("classifier", "pooler"))
    begun.check_trained(build(CLASSIFIER), resolve_trained(trainable, (), adapted.abstract_params))
    kernels = {"/".join(kernel.path) for kernel in begun.kernels(build(CLASSIFIER))}
    before = {"/".join(kernel.path) for kernel in everywhere.kernels(build(BASE))}
    assert kernels == {path for path in before if not path.startswith("masked_lm")}
    assert LoRA().begun_from(begun, CLASSIFIER, CLASSIFIER) == begun
    assert LoRA().begun_from(everywhere, BASE, BASE) == everywhere


def test_a_pattern_of_the_old_head_alone_is_left_with_it():
    of_head = LoRA(rank=1, targets=("*attention/query", "masked_lm"))
    begun = LoRA().begun_from(of_head, BASE, CLASSIFIER)
    assert begun == LoRA(rank=1, targets=("encoder/layers/self_attention/query",))
    assert LoRA().begun_from(begun, BASE, CLASSIFIER) == begun
    assert LoRA().begun_from(ADAPTER, BASE, CLASSIFIER) == ADAPTER  # patterns that mean the same stay
    with pytest.raises(ConfigError, match=r"adapts masked_lm/dense/kernel alone, .*begin from its base$"):
        LoRA().begun_from(LoRA(rank=1, targets=("masked_lm",)), BASE, CLASSIFIER)


def test_settings_of_a_recipes_adapter_that_are_not_used_are_said():
    mine = LoRA(rank=16, alpha=2.0, dropout=0.1, targets=ADAPTER.targets)
    recipe: Any = SimpleNamespace(adapter=mine)
    config: Any = SimpleNamespace(adapter=mine.begun_from(ADAPTER, BASE, BASE))
    assert config.adapter == dataclasses.replace(ADAPTER, dropout=0.1)
    assert unused_settings(recipe, config) == [
        "note: the recipe's adapter has rank=16, alpha=2.0, which is not used: the one that is trained on "
        "has rank=1, alpha=16.0"
    ]
    nothing: Any = SimpleNamespace(adapter=NoAdapter())
    assert unused_settings(config, config) == unused_settings(nothing, config) == []
