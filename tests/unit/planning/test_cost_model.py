"""Laws of the analytic cost model."""

import dataclasses
import math
from typing import Any, get_args

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError
from t5lite.models import config
from t5lite.models.config import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    ModelConfig,
    Remat,
)
from t5lite.models.flops import train_step_flops
from t5lite.models.functional import FunctionalModel, build
from t5lite.optim import AdafactorConfig, AdamWConfig, Constant, Optimizer
from t5lite.partitioning import Partitioner, PartitioningConfig, abstract_partitioner
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.chips import CHIPS
from t5lite.planning.hardware.topology import Topology, parse_topology
from t5lite.planning.predicted import memory_traffic
from t5lite.planning.predicted.activation_traffic import Placement, activation_exchange
from t5lite.planning.predicted.cost_model import CostModel, PlannedExecution, Prediction
from t5lite.planning.predicted.layer_shapes import FusedAttention, activation_shards, layer_shapes
from t5lite.planning.predicted.remat import PLANNED, remat_names
from t5lite.planning.predicted.state_shards import StateShapes
from t5lite.planning.search.workload import planned_optimizer
from t5lite.training.config import StepConfig
from t5lite.training.gradients import step_gradients
from t5lite.training.state import abstract_state
from t5lite.training.step import make_train_step
from tests.unit.training.test_step_flops import MODELS as PROGRAMS
from tests.unit.training.test_step_flops import needed_flops

SHAPE: dict[str, Any] = {
    "vocab_size": 4096,
    "embed_dim": 512,
    "mlp_dim": 1024,
    "head_dim": 64,
    "num_heads": 16,
}
T5 = EncoderDecoderConfig(**SHAPE, num_encoder_layers=3, num_decoder_layers=2)
CONFIGS: dict[str, ModelConfig] = {
    "t5": T5,
    "t5_tied_grouped": dataclasses.replace(T5, tie_embeddings=True, num_kv_heads=4),
    "bert": EncoderOnlyConfig(**SHAPE | {"vocab_size": 4097, "mlp_dim": 1022}, num_layers=3),
    "llama": DecoderOnlyConfig(**SHAPE, num_layers=3, num_kv_heads=8),
    "palm": DecoderOnlyConfig(
        **SHAPE, num_layers=3, num_kv_heads=1, parallel_block=True, tie_embeddings=True
    ),
}
V5E = parse_topology("v5e:4x4")
BATCH = BatchShape(batch_size=64, encoder_length=512, decoder_length=128)
BFLOAT16 = config.Execution(compute_dtype="bfloat16")
MODELS = {name: build(each, BFLOAT16) for name, each in CONFIGS.items()}
GROUPS = (
    *("encoder", "decoder", "token_embedder", "logits", "*norm*", "*/mlp", "*/cross_attention", "*/out"),
    *("encoder/layers", "decoder/layers", "*/key", "*/relpos_bias"),
)
STYLES = ("data_parallel", "fsdp", "tensor_parallel", "sequence_parallel")
POWERS = st.sampled_from([1, 2, 4, 8, 16])


def bytes_of_shards(tree: Any) -> int:
    """Of one device."""
    return sum(
        leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape))
        for leaf in jax.tree.leaves(tree)
    )


def adamw(model: FunctionalModel) -> Optimizer:
    return AdamWConfig().build(Constant().build(1), model.logical_axes)


def partitioner(topology: Topology = V5E, **partitioning: Any) -> Partitioner:
    return abstract_partitioner(PartitioningConfig(**partitioning), topology.num_devices)


def predict(
    name: str = "t5",
    *,
    batch: BatchShape = BATCH,
    topology: Topology = V5E,
    run: PlannedExecution | None = None,
    trainable: tuple[str, ...] | None = None,
    **mesh: Any,
) -> Prediction:
    model = MODELS[name]
    costs = CostModel(model, planned_optimizer(AdamWConfig(), model, trainable), topology, batch)
    return costs.on(partitioner(topology, **mesh)).predict(run or PlannedExecution())


@st.composite
def meshes(draw: st.DrawFn) -> dict[str, Any]:
    """Every mesh over 16 devices whose axes its style uses."""
    style = draw(st.sampled_from(STYLES))
    tensor = draw(POWERS) if "parallel" in style and style != "data_parallel" else 1
    sequence = draw(POWERS.filter(lambda n: n * tensor <= 16)) if style == "sequence_parallel" else 1
    replica = draw(POWERS.filter(lambda n: n * tensor * sequence <= 16))
    return {"style": style, "replica": replica, "tensor": tensor, "sequence": sequence}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("optimizer", [AdamWConfig(), AdafactorConfig()], ids=["adamw", "adafactor"])
@pytest.mark.parametrize(
    "mesh", [{"style": "data_parallel"}, {"style": "fsdp"}, {"style": "sequence_parallel", "tensor": 4}]
)
def test_the_state_has_exactly_the_bytes_of_its_shards(name: str, optimizer: Any, mesh: dict[str, Any]):
    model = MODELS[name]
    built = optimizer.build(Constant().build(1), model.logical_axes)
    predicted = CostModel(model, built, V5E, BATCH).on(partitioner(**mesh)).predict(PlannedExecution()).memory
    state = abstract_state(model, built, partitioner(**mesh))

    assert predicted.parameters == bytes_of_shards(state.params)
    assert predicted.optimizer == bytes_of_shards(state.opt_state)


def test_what_is_frozen_has_no_optimizer_state_and_no_gradient_to_keep_or_exchange():
    model, mesh = MODELS["t5"], partitioner(replica=2, fsdp=8)
    whole, part = (predict(trainable=each, replica=2, fsdp=8) for each in (None, ("decoder",)))
    optimizer = planned_optimizer(AdamWConfig(), model, ("decoder",))
    state = abstract_state(model, optimizer, mesh)
    assert part.memory.parameters == whole.memory.parameters
    assert part.memory.optimizer == bytes_of_shards(state.opt_state)
    assert part.memory.gradients == bytes_of_shards(optimizer.trained(state.params))
    assert part.time.main_memory < whole.time.main_memory
    assert part.time.links["replica"] < whole.time.links["replica"]
    assert 0 < part.time.links["fsdp"] < whole.time.links["fsdp"]


@given(
    frozen=st.lists(st.sampled_from(GROUPS), unique=True, min_size=1, max_size=3),
    thawed=st.sampled_from(GROUPS),
    remat=st.sampled_from(PLANNED),
    style=st.sampled_from(["fsdp", "tensor_parallel", "sequence_parallel"]),
)
@settings(deadline=None, max_examples=25)
def test_to_train_less_never_takes_more(frozen: list[str], thawed: str, remat: Remat, style: str):
    few, more = (
        predict(
            trainable=tuple(f"!{group}" for group in groups) or None,
            run=PlannedExecution(remat=remat),
            style=style,
            tensor=1 if style == "fsdp" else 4,
        )
        for groups in (frozen, [group for group in frozen if group != thawed])
    )
    assert few.flops <= more.flops
    assert few.memory.parameters == more.memory.parameters
    for part, size in few.memory.parts().items():
        assert size <= more.memory.parts()[part], part
    for resource, seconds in few.time.resources.items():
        assert seconds <= more.time.resources[resource] * (1 + 1e-9), resource


def test_where_nothing_below_is_trained_there_is_no_backward_pass():
    """Of the head alone: nothing is kept, no kernel is gathered twice, no activation's gradient exchanged."""
    head = predict(trainable=("logits",))
    decoder = predict(trainable=("decoder",))
    norms = predict(trainable=("*norm*",))
    whole = predict()
    assert head.memory.saved_activations == 0 < decoder.memory.saved_activations
    assert decoder.memory.saved_activations < norms.memory.saved_activations < whole.memory.saved_activations
    kernels = norms.time.links["fsdp"] / 2  # whose gradients are next to nothing
    assert head.time.links["fsdp"] == pytest.approx(
        kernels + T5.vocab_size * 512 * 4 * 15 / 16 / 100e9, rel=0.01
    )
    sharded = {"style": "tensor_parallel", "tensor": 4}
    exchanged = [predict(trainable=each, **sharded).time.links["tensor"] for each in (("logits",), None)]
    assert exchanged[0] < 0.5 * exchanged[1]


TRAINED = [
    ("t5", None),
    ("t5", ("decoder", "logits")),
    ("t5", ("logits",)),
    ("t5", ("*norm*",)),
    ("tied", ("!token_embedder",)),
    ("bert-masked-lm", None),
    ("bert-masked-lm", ("*/bias",)),
]


@pytest.mark.parametrize(
    ("name", "trainable", "remat"),
    [(*each, remat) for each in TRAINED for remat in ("dots", "full")]
    + [(*each, "save") for each in TRAINED[::3]],
)
def test_flops_are_those_of_the_program(name: str, trainable: tuple[str, ...] | None, remat: Remat):
    """Of the products that a step's program has before it is compiled, what remat makes again among them."""
    predicted, needed = flops_and_those_of_the_program(name, trainable, remat, vocab_chunks=1)
    assert predicted == needed


def flops_and_those_of_the_program(
    name: str, trainable: tuple[str, ...] | None, remat: Remat, *, vocab_chunks: int
) -> tuple[float, int]:
    lengths = dict.fromkeys(PROGRAMS[name].sides, 8)
    batch = BatchShape(
        batch_size=8, encoder_length=lengths.get("encoder", 0), decoder_length=lengths.get("decoder", 0)
    )
    topology, mesh = parse_topology("v5e:1x1"), abstract_partitioner(PartitioningConfig(), 1)
    model = build(PROGRAMS[name], config.Execution(remat=remat, remat_names=remat_names(remat)))
    optimizer = planned_optimizer(AdamWConfig(), model, trainable)
    step = make_train_step(model, optimizer, StepConfig(vocab_chunks=vocab_chunks), seed=0)
    shapes = model.config.batch_spec(batch.lengths).shapes(batch.batch_size)
    fields = {field: jax.ShapeDtypeStruct(*of_field) for field, of_field in shapes.items()}
    run = PlannedExecution(remat=remat, fused_attention=False)
    predicted = CostModel(model, optimizer, topology, batch, vocab_chunks=vocab_chunks).on(mesh).predict(run)
    return predicted.flops, needed_flops(step, abstract_state(model, optimizer), fields)


@pytest.mark.parametrize("name", CONFIGS)
def test_flops_are_the_analytic_count(name: str):
    expected = train_step_flops(CONFIGS[name], batch_size=64, encoder_length=512, decoder_length=128) / 16
    none, dots, full = (
        predict(name, run=PlannedExecution(remat=remat, fused_attention=False))
        for remat in ("none", "dots", "full")
    )
    assert none.flops == none.model_flops == full.model_flops == expected
    assert expected < dots.flops < full.flops < 4 / 3 * expected


@given(
    mesh=meshes(),
    remat=st.sampled_from(PLANNED),
    name=st.sampled_from(list(CONFIGS)),
    fused=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_a_step_takes_no_less_than_any_resource(mesh: dict[str, Any], remat: Any, name: str, fused: bool):
    try:
        predicted = predict(name, run=PlannedExecution(remat=remat, fused_attention=fused), **mesh)
    except ConfigError:
        return
    assert all(predicted.time.step >= seconds >= 0 for seconds in predicted.time.resources.values())
    assert 0 < predicted.mfu <= 1
    assert predicted.memory.total >= sum(
        (predicted.memory.parameters, predicted.memory.optimizer, predicted.memory.gradients)
    )
    assert math.isfinite(predicted.memory.total)


@pytest.mark.parametrize("name", CONFIGS)
def test_memory_falls_with_more_devices_that_share_the_parameters(name: str):
    totals = []
    for side in (1, 2, 4, 8):
        topology = parse_topology(f"v5e:{side}x{side}")
        totals.append(predict(name, topology=topology).memory.total)
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) == len(totals)


@pytest.mark.parametrize("name", CONFIGS)
def test_remat_trades_memory_for_flops(name: str):
    none, dots, save, full = (
        predict(name, run=PlannedExecution(remat=remat)) for remat in ("none", "dots", "save", "full")
    )
    saved = [each.memory.saved_activations for each in (none, dots, save, full)]
    assert saved == sorted({*saved}, reverse=True)
    assert none.flops < dots.flops < save.flops < full.flops


@pytest.mark.parametrize("name", CONFIGS)
def test_kernels_that_are_kept_are_gathered_once(name: str):
    """Those of layers: the table and the head's are gathered again. Nothing is kept that is not gathered."""
    dots, gathered = (predict(name, run=PlannedExecution(remat=remat)) for remat in ("dots", "gathered"))
    kept = gathered.memory.saved_kernels
    assert dots.memory.saved_kernels == 0 < kept
    spared = dots.time.links["fsdp"] - gathered.time.links["fsdp"]
    assert spared * 100e9 == pytest.approx(15 / 16 * kept)
    assert gathered.model_flops < gathered.flops < dots.flops
    whole = predict(name, run=PlannedExecution(remat="gathered"), style="data_parallel")
    assert whole.memory.saved_kernels == 0


def test_microbatches_trade_activations_for_exchange():
    one, four = (predict(run=PlannedExecution(num_microbatches=number)) for number in (1, 4))
    assert four.memory.saved_activations == one.memory.saved_activations / 4
    assert four.memory.gradients == 2 * one.memory.gradients
    assert four.flops == one.flops
    assert four.time.links["fsdp"] > one.time.links["fsdp"]


def test_a_fused_attention_keeps_no_weights():
    plain, fused = (predict(run=PlannedExecution(fused_attention=on)) for on in (False, True))
    assert fused.memory.saved_activations < plain.memory.saved_activations
    assert fused.time.main_memory < plain.time.main_memory
    longer = BatchShape(batch_size=64, encoder_length=2048, decoder_length=128)
    grown = predict(batch=longer, run=PlannedExecution(fused_attention=True)).memory.saved_activations
    assert grown < 4 * fused.memory.saved_activations  # linear in the length, and the decoder did not grow


def test_the_kernels_that_the_model_chooses_count():
    """On a TPU those for 512 x 512 logits and 128 x 512, not the decoder's 128 x 128; with groups too."""
    chosen, never, always = (predict(run=PlannedExecution(fused_attention=on)) for on in (None, False, True))
    assert never.memory.saved_activations > chosen.memory.saved_activations > always.memory.saved_activations
    logits = 2 * 16 * 64 * (3 * 512 * 512 + 2 * 128 * 512) * 64 / 16
    assert chosen.flops - never.flops == pytest.approx(logits)
    chosen, never = (
        predict("t5_tied_grouped", run=PlannedExecution(fused_attention=on)) for on in (None, False)
    )
    assert never.memory.saved_activations > chosen.memory.saved_activations
    assert chosen.flops - never.flops == pytest.approx(logits)
    reference = build(T5, dataclasses.replace(BFLOAT16, attention="reference"))
    costs = CostModel(reference, adamw(reference), V5E, BATCH).on(partitioner())
    assert costs.predict(PlannedExecution()) == predict(run=PlannedExecution(fused_attention=False))


def test_sequence_sharded_residuals_need_less_memory_and_other_collectives():
    run = PlannedExecution(remat="full")
    tensor = predict(style="tensor_parallel", tensor=4, run=run)
    sequence = predict(style="sequence_parallel", tensor=4, run=run)
    gathered = 2 * 16 * 512 * T5.embed_dim  # the encoder's output, whole for all layers of the decoder
    assert sequence.memory.saved_activations == pytest.approx(tensor.memory.saved_activations / 4 + gathered)
    assert sequence.time.links["tensor"] == pytest.approx(tensor.time.links["tensor"], rel=0.2)


def test_the_encoders_output_is_gathered_once_for_all_layers():
    """A gather and a scatter of each branch, forward and backward; of the encoder's output, one gather."""
    whole, encoded = (2 * 16 * length * T5.embed_dim for length in (128, 512))
    two, four = (
        layer_shapes(
            model,
            step_gradients(model, adamw(model)),
            activation_shards(T5, partitioner(style="sequence_parallel", tensor=4)),
            BATCH,
            rows=16,
            fused=[FusedAttention(False, False)] * 2,
        )[1:]
        for model in (build(dataclasses.replace(T5, num_decoder_layers=n), BFLOAT16) for n in (2, 4))
    )
    placement = Placement.of(partitioner(style="sequence_parallel", tensor=4))
    sent = [activation_exchange(layers, placement, "none")["tensor"] for layers in (two, four)]
    assert sent[0] == 3 / 4 * (2 * (4 * 3 * whole + encoded) + encoded)
    assert sent[1] - sent[0] == 3 / 4 * 2 * (4 * 3 * whole + encoded)


def test_kernels_are_gathered_over_the_inner_axes_first():
    """While there is little to gather: over two devices two shards, then over eight all sixteen."""
    model = MODELS["llama"]
    mesh = {"style": "sequence_parallel", "fsdp": 8, "sequence": 2}
    shapes = StateShapes(model, adamw(model), step_gradients(model, adamw(model)))
    shards = shapes.shards(partitioner(**mesh))
    alone = shapes.shards(partitioner(style="fsdp"))
    kernels = alone.gathered["fsdp"] * 16 / 15
    assert shards.gathered["sequence"] == pytest.approx(kernels / 8 / 2)
    assert shards.gathered["fsdp"] == pytest.approx(kernels * 7 / 8)


def test_fsdp_gathers_parameters_twice_and_scatters_gradients():
    """A gather for each pass in the compute dtype, a scattered sum in float32; no table to look up in."""
    predicted = predict("llama", style="fsdp")
    kernels = sum(
        math.prod(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(MODELS["llama"].abstract_params)
        if leaf.ndim > 2 or "logits" in jax.tree_util.keystr(path)
    )
    norms = (2 * 3 + 1) * 512
    sent = (2 * kernels * 2 + kernels * 4 + 2 * norms * 4) * 15 / 16
    assert predicted.time.links["fsdp"] == pytest.approx(sent / 100e9, rel=1e-6)


def test_data_parallelism_sums_whole_gradients():
    predicted = predict("llama", style="data_parallel")
    sent = 2 * MODELS["llama"].num_params * 4 * 15 / 16
    assert predicted.time.links["fsdp"] == pytest.approx(sent / 100e9)


def test_only_gradients_cross_slices():
    two = parse_topology("v5e:4x4", num_slices=2)
    batch = dataclasses.replace(BATCH, batch_size=128)
    both = predict(topology=two, batch=batch, replica=2)
    alone = predict()
    assert alone.time.network == 0
    shard = MODELS["t5"].num_params * 4 / 16
    norms = 4 * sum(leaf.size for leaf in jax.tree.leaves(MODELS["t5"].abstract_params) if leaf.ndim <= 2)
    assert shard <= both.time.network * two.chip.network_bandwidth <= shard + norms
    assert both.time.links == alone.time.links


@pytest.mark.parametrize(
    ("mesh", "run", "message"),
    [
        (
            {"style": "tensor_parallel", "tensor": 16},
            PlannedExecution(num_microbatches=7),
            "num_microbatches",
        ),
        ({"style": "fsdp"}, PlannedExecution(num_microbatches=8), "batch_size=64 is not divisible"),
        ({"style": "fsdp", "tensor": 2}, PlannedExecution(), "tensor"),
    ],
)
def test_what_cannot_run_is_refused(mesh: dict[str, Any], run: PlannedExecution, message: str):
    with pytest.raises(ConfigError, match=message):
        predict(run=run, **mesh)


def test_heads_that_a_mesh_does_not_divide_are_refused():
    with pytest.raises(ConfigError, match="kv_heads"):
        predict("t5_tied_grouped", style="tensor_parallel", tensor=8)


@pytest.mark.parametrize("style", ["tensor_parallel", "sequence_parallel"])
def test_rows_that_do_not_divide_cost_what_padded_rows_cost_and_an_exchange_of_the_table(style: str):
    """4,097 rows over 4 devices are computed as 1,025 each; kept, they are split by columns."""
    mesh = partitioner(style=style, fsdp=4, tensor=4)
    odd, padded = (
        build(dataclasses.replace(CONFIGS["t5_tied_grouped"], vocab_size=size), BFLOAT16)
        for size in (4097, 4100)
    )
    one, other = (
        CostModel(model, adamw(model), V5E, BATCH).on(mesh).predict(PlannedExecution())
        for model in (odd, padded)
    )
    assert one.memory.logits == other.memory.logits
    for part, size in one.memory.parts().items():
        assert size == pytest.approx(other.memory.parts()[part], rel=1e-3), part
    moved = 3 / 4 * 4097 * SHAPE["embed_dim"] / 16
    state = StateShapes(odd, adamw(odd), step_gradients(odd, adamw(odd))).shards(mesh)
    assert state.gathered["tensor"] == 2 * moved  # in bfloat16, to where it is computed with
    assert state.reduced["tensor"] == 4 * moved  # its gradient in float32, back to where it is kept
    assert one.time.resources["links tensor"] > other.time.resources["links tensor"]


def test_every_remat_policy_is_known():
    """Of those that keep what one names, a plan knows one set."""
    assert {*PLANNED, "offload"} == set(get_args(Remat))
    for remat in PLANNED:
        predict(run=PlannedExecution(remat=remat))


def test_what_stays_on_a_chip_is_a_share_of_its_own_memory():
    """What a v5e was seen to hold spills from a GPU, whose cache is a third of a v5e's vector memory."""
    v5e, h100 = (memory_traffic.spills(CHIPS[name]) for name in ("v5e", "h100"))
    array = 16 * 2**20
    assert (v5e(array), v5e(array + 1)) == (0, 1)
    assert h100(array) == array - CHIPS["h100"].on_chip_bytes / 8
