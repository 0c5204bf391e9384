"""Commands with ``--weights int8``: a trained run loses little, and says what it gains."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5lite.cli.main import main
from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.models.layers.int8_kernel import Int8Kernel
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner import int8_weights
from t5lite.runner.embedding import embed
from t5lite.runner.loading import load_trained
from t5lite.runner.measurements import measurements
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot

pytestmark = pytest.mark.slow


def loaded(run, **options):
    partitioner = make_partitioner(PartitioningConfig(style="data_parallel"))
    return load_trained(Snapshot(RunDirectory.at(run)), partitioner, **options)


def loss(run, *options, capfd):
    assert main(["evaluate", "--run", str(run), *options]) == 0
    printed, errors = capfd.readouterr()
    return float(re.search(r"^  loss +([\d.]+)", printed, re.MULTILINE).group(1)), printed, errors


def test_the_loss_is_nearly_the_same_and_recorded_apart(pretrained, capfd):
    whole, _, _ = loss(pretrained, capfd=capfd)
    recorded = measurements(Snapshot(RunDirectory.at(pretrained)))
    rounded, printed, errors = loss(pretrained, "--weights", "int8", capfd=capfd)
    assert 0 < abs(rounded - whole) < 0.01 * whole
    assert "kernels of layers are int8" in printed
    after, before = map(float, re.search(r"have ([\d.]+) MiB in place of ([\d.]+)", errors).groups())
    assert 0.2 < after / before < 0.9
    assert json.loads((pretrained / "evaluation.json").read_text())["settings"]["weights"] == "int8"
    assert measurements(Snapshot(RunDirectory.at(pretrained))) == recorded  # by which runs are compared


def test_a_run_writes_with_them(pretrained, capfd):
    assert (
        main(["generate", "--run", str(pretrained), "--text", "a <extra_id_0> b", "--weights", "int8"]) == 0
    )
    printed, errors = capfd.readouterr()
    assert printed.strip()
    assert errors.count("MiB in place of") == 1


def test_a_run_embeds_with_them(pretrained, capfd):
    texts = ["It is a truth", "universally acknowledged, that a single man"]
    whole_ND, rounded_ND = embed(pretrained, texts), embed(pretrained, texts, weights="int8")
    assert capfd.readouterr().err.count("MiB in place of") == 1
    assert not np.array_equal(whole_ND, rounded_ND)
    assert (whole_ND * rounded_ND).sum(axis=1).min() > 0.99


def test_other_weights_are_refused(pretrained):
    with pytest.raises(ConfigError, match="weights='int4' is not known; give int8"):
        loaded(pretrained, weights="int4")


def test_parts_are_the_whole(pretrained, monkeypatch):
    """Read some arrays at a time, no more than one of them is there as it was trained."""
    at_once = loaded(pretrained, weights="int8")
    monkeypatch.setattr(int8_weights, "_PART_BYTES", 80_000)
    in_parts = loaded(pretrained, weights="int8")
    assert jax.tree.structure(in_parts.params) == jax.tree.structure(at_once.params)
    jax.tree.map(np.testing.assert_array_equal, in_parts.params, at_once.params)
    assert in_parts.report == at_once.report
    whole = loaded(pretrained).params
    own = whole["decoder"]["layers"]["mlp"]
    name = next(name for name in own if name.startswith("wi"))
    expected = Int8Kernel.of(own[name])
    jax.tree.map(np.testing.assert_array_equal, in_parts.params["decoder"]["layers"]["mlp"][name], expected)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_weights_that_are_not_finite_are_refused(pretrained, bad):
    trained = loaded(pretrained)
    mlp = trained.params["decoder"]["layers"]["mlp"]
    mlp["wo"] = mlp["wo"].at[0, 1, 2].set(bad)
    partitioner = make_partitioner(PartitioningConfig(style="data_parallel"))
    with pytest.raises(CheckpointError, match=r"1 kernels hold NaN or infinity.*decoder\.layers\.mlp\.wo"):
        int8_weights.as_int8(trained.model, trained.params, partitioner)
