"""Real training steps, compiled for TPUs that are not here: how they are divided, what they cost, what fits.

The tests of one step are in one file, so that one worker compiles it once.
"""

import dataclasses
import difflib
from importlib import metadata

import pytest

from t5lite.core.errors import ConfigError
from t5lite.models.config import Execution
from t5lite.partitioning import PartitioningConfig
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.compiled.roofline import roofline
from t5lite.planning.report.advice import advice
from t5lite.planning.report.summary import summarise
from t5lite.training.config import StepConfig
from tests.compile import golden
from tests.compile.steps import BATCH, EXECUTION, MODEL, WAYS, compiled_step, predicted, way
from tests.families import FAMILIES
from tests.golden_programs import JAX

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", WAYS)
def test_shardings_and_collectives_are_those_of_the_golden_file(name):
    expected, found = golden.path(name).read_text(encoding="utf-8"), golden.described(name)
    changes = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), "golden file", "now", lineterm="", n=1
    )
    assert found == expected, (
        "\n".join(changes) + f"\nThe files are of jax {JAX} and libtpu {golden.LIBTPU}, these are "
        f"{metadata.version('jax')} and {metadata.version('libtpu')}. With those, if the change is meant: "
        "python -m tests.compile.golden, and commit the files"
    )


@pytest.mark.parametrize("name", ["data_parallel", "fsdp", "tensor"])
def test_counted_flops_are_the_models_own_without_remat(name):
    assert way(name).flops == pytest.approx(way(name).model_flops, rel=0.03)


@pytest.mark.parametrize("name", WAYS)
def test_predicted_flops_are_those_that_the_program_has(name):
    assert predicted(name).flops == pytest.approx(way(name).flops, rel=0.02)


@pytest.mark.parametrize("name", WAYS)
def test_the_predicted_state_is_that_of_the_program_but_for_the_padding_of_tiles(name):
    """64 columns of a table are padded to the 128 of a tile."""
    memory, compiled = predicted(name).memory, way(name).memory
    state = memory.parameters + memory.optimizer
    assert state <= 1.001 * (compiled.parameters + compiled.optimizer) <= 1.4 * state


def test_memory_is_predicted_within_a_factor_where_little_is_kept():
    name = "fsdp_tensor_sequence_sharded"
    assert 0.85 < predicted(name).memory.total / way(name).memory.needed < 1.7


def test_the_sum_of_gradients_over_copies_is_not_predicted_longer_than_the_links_take():
    links = roofline(way("data_parallel")).seconds
    compiled = sum(seconds for resource, seconds in links.items() if resource.startswith("links"))
    assert 0.5 * compiled < max(predicted("data_parallel").time.links.values()) < 1.5 * compiled


def test_full_remat_costs_at_most_another_forward_pass():
    step = way("fsdp_tensor_sequence_sharded")
    assert 1.2 * step.model_flops < step.flops < (4 / 3 + 0.03) * step.model_flops


@pytest.mark.parametrize("name", WAYS)
def test_memory_is_told_in_full(name):
    """Every byte at the peak is a buffer's; parameters and two moments in float32 are what they must be."""
    step = way(name)
    memory = step.memory
    assert sum(buffer.num_bytes for buffer in step.buffers) == memory.peak
    assert memory.peak <= memory.needed <= memory.available
    assert memory.optimizer == pytest.approx(2 * memory.parameters, rel=0.01)
    assert memory.activations > 0
    assert step.fits


def test_sharded_parameters_take_a_share_of_what_copies_take():
    """A quarter, and what pads the shards of 64 columns to tiles of 128."""
    copies, shards = way("data_parallel").memory, way("fsdp").memory
    assert copies.parameters / 4 < shards.parameters < 0.4 * copies.parameters


def test_collectives_are_over_the_axes_that_the_style_uses():
    assert {each.axes for each in way("fsdp").collectives} == {("fsdp",)}
    assert {each.axes for each in way("tensor").collectives} == {("tensor",)}
    assert {each.network for name in WAYS for each in way(name).collectives} == {"links"}


def test_sequence_sharded_residuals_come_back_by_reduce_scatter():
    """The all-reduces over the axis that splits them are of scalars, norm scales and the like."""
    step = way("fsdp_tensor_sequence_sharded")
    residuals = 2 * BATCH.batch_size * BATCH.decoder_length * MODEL.embed_dim // step.mesh["fsdp"]
    over_tensor = [each for each in step.collectives if "tensor" in each.axes]
    reduced = [each.sent_bytes for each in over_tensor if each.kind == "all-reduce"]
    assert max(reduced, default=0) < residuals / 4
    assert any(each.kind == "reduce-scatter" for each in over_tensor)


def test_more_layers_are_no_larger_a_program():
    """Layers are a loop, so that compiling 48 of them takes no longer than two or three."""
    partitioning, few, execution = WAYS["fsdp_tensor_sequence_sharded"]
    many = dataclasses.replace(few, num_encoder_layers=48, num_decoder_layers=48)
    sizes = [
        (len(step.products), len(step.collectives))
        for step in (way("fsdp_tensor_sequence_sharded"), compiled_step(partitioning, many, execution))
    ]
    assert all(of_many <= 1.3 * of_few for of_few, of_many in zip(*sizes, strict=True)), sizes


def test_no_resource_takes_longer_than_the_step():
    for name in WAYS:
        time = roofline(way(name))
        assert time.step_seconds == max(time.seconds.values()) == time.seconds[time.limiting]
        assert time.step_seconds <= time.scheduled_seconds <= time.serial_seconds
        assert 0 < time.serial_mfu <= time.mfu < 1


def test_a_summary_lists_as_much_as_is_asked_for():
    step = way("fsdp")
    summary = summarise(step, top=3)
    assert [len(summary[name]) for name in ("buffers", "collectives", "products")] == [3, 3, 3]
    assert sum(row["bytes"] for row in summarise(step, top=10**6)["buffers"]) == step.memory.peak
    assert sum(row["seconds"] for row in summary["network"]) == pytest.approx(
        sum(roofline(step).axis_seconds.values())
    )


def test_rows_that_no_axis_divides_are_computed_with_in_equal_parts():
    """Of GPT-2's 50,257 rows each of four devices keeps four columns of sixteen, and has 12,565 logits."""
    rows, width = 50_257, 16
    model = dataclasses.replace(FAMILIES["gpt2"], vocab_size=rows)
    mesh = PartitioningConfig(style="tensor_parallel", fsdp=1, tensor=4)
    step = compiled_step(mesh, model, Execution(), BatchShape(batch_size=16, decoder_length=16))
    assert step.flops == pytest.approx(step.model_flops, rel=0.01)  # they are nearly all of the logits
    assert {f"f32[{rows},{width // 4}]"} == {each.shape for each in step.buffers if str(rows) in each.shape}
    # The table goes where its logits are, and its gradient back; nobody sends logits.
    moved = 3 / 4 * rows * width
    assert max(each.sent_bytes for each in step.collectives) == pytest.approx(moved, rel=1e-3)


@pytest.fixture(scope="module")
def too_large():
    """A batch that no v5e has room for: attention logits of 2 x 4096 rows, 4 heads, 512 x 512."""
    batch = dataclasses.replace(BATCH, batch_size=4 * 4096, encoder_length=512)
    return compiled_step(PartitioningConfig(style="fsdp"), MODEL, batch=batch)


def test_activations_are_told_by_their_lines_of_code(too_large):
    sources = {buffer.source.partition(":")[0] for buffer in too_large.buffers}
    assert {"t5lite/models/layers/norm.py", "t5lite/models/layers/attention_ops.py"} <= sources


def test_a_step_that_does_not_fit_says_what_takes_the_space(too_large):
    assert not too_large.fits
    assert too_large.memory.needed > too_large.memory.available
    assert too_large.memory.activations > 0.5 * too_large.memory.needed
    assert too_large.buffers[0].kind == "activations"
    # XLA has tried to recompute what it has no room for.
    assert too_large.model_flops < too_large.flops < 4 / 3 * too_large.model_flops


def test_a_step_that_does_not_fit_says_what_to_change(too_large):
    first, *others, last = advice(too_large, EXECUTION, StepConfig(num_microbatches=2), style="fsdp")
    assert first.startswith("--execution.remat full")
    assert any("--step.num-microbatches 4" in each for each in others)
    assert "more chips" in last
    remat = dataclasses.replace(EXECUTION, remat="full")
    assert not any("remat" in each for each in advice(too_large, remat, StepConfig(), style="fsdp"))
    gathered = dataclasses.replace(EXECUTION, remat="gathered")
    again, whole, *_ = advice(too_large, gathered, StepConfig(), style="fsdp")
    assert again.startswith("--execution.remat dots")
    assert whole.startswith("--execution.remat full")
    shard, *_ = advice(too_large, EXECUTION, StepConfig(), style="tensor_parallel")
    assert shard.startswith("--partitioning.style sequence_parallel")


def test_a_step_that_fits_needs_no_advice():
    assert advice(way("fsdp"), EXECUTION, StepConfig(), style="fsdp") == []


@pytest.mark.parametrize(
    ("partitioning", "batch_size", "message"),
    [
        (PartitioningConfig(fsdp=4), 18, r"batch_size=18 is not divisible by .*'fsdp'=4; use 16 or 20"),
        (PartitioningConfig(fsdp=8), 16, r"mesh fsdp=8 needs 8 devices but 4 are there"),
    ],
)
def test_what_does_not_divide_is_refused_before_anything_is_compiled(partitioning, batch_size, message):
    with pytest.raises(ConfigError, match=message):
        compiled_step(partitioning, MODEL, batch=dataclasses.replace(BATCH, batch_size=batch_size))
