"""A compiled step made by hand, with numbers that can be checked in the head."""

from dataclasses import replace
from typing import Any

from t5lite.planning.compiled.buffers import Buffer
from t5lite.planning.compiled.collectives import Collective
from t5lite.planning.compiled.compile import CompiledStep, Memory
from t5lite.planning.compiled.hlo_costs import Product
from t5lite.planning.compiled.timeline import Timeline, Wait
from t5lite.planning.compiled.traffic import Transfer
from t5lite.planning.hardware.chips import GIB
from t5lite.planning.hardware.topology import parse_topology


def collective(**changes: Any) -> Collective:
    """An all-gather over one column of a v5e:4x4, a line of four: 50 GB/s."""
    base = Collective(
        kind="all-gather",
        dtype="bf16",
        axes=("fsdp",),
        group=(0, 4, 8, 12),
        group_size=4,
        runs=2,
        sent_bytes=5e9,
        op_name="jit(step)/jvp()/gather",
        source="t5lite/models/layers/mlp.py:47",
    )
    return replace(base, **changes)


def transfer(**changes: Any) -> Transfer:
    """What a fusion of the MLP moves."""
    base = Transfer(
        kind="fusion",
        num_bytes=1e9,
        op_name="jit(step)/jvp()/mul",
        source="t5lite/models/layers/mlp.py:47",
    )
    return replace(base, **changes)


def step(**changes: Any) -> CompiledStep:
    """A step on v5e:4x4 that keeps the matrix unit busy for 2 s, main memory for 1 s and links for 0.2 s."""
    topology = parse_topology("v5e:4x4")
    chip = topology.chip
    base = CompiledStep(
        topology=topology,
        mesh={"replica": 1, "fsdp": 4, "sequence": 1, "tensor": 4},
        places=tuple((0, row, column, 0) for row in range(4) for column in range(4)),
        refusal=None,
        memory=Memory(
            parameters=GIB,
            optimizer=2 * GIB,
            batch=0,
            activations=4 * GIB,
            temporaries=GIB,
            gaps=GIB // 2,
            available=chip.memory_bytes,
        ),
        buffers=(
            Buffer(
                kind="activations",
                num_bytes=4 * GIB,
                shape="bf16[12,8,512,2048]",
                op_name="jit(step)/jvp()/tanh",
                source="t5lite/models/layers/mlp.py:47",
            ),
        ),
        products=(Product(op_name="a", source="x.py:1", flops=chip.flops_per_second, passes=2),),
        model_flops=chip.flops_per_second / 2,
        transfers=(transfer(num_bytes=chip.memory_bandwidth),),
        serial_seconds=2.5,
        collectives=(collective(),),
        timeline=Timeline(work_seconds=2.2, waits=(Wait(collective=collective(), seconds=0.05),)),
        compiler_options=(("xla_of_the_chip", "1"),),
        compile_seconds=1.0,
    )
    return replace(base, **changes)
