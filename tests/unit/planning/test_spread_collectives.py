"""A collective that the compiler spreads over other work, as it writes it for a TPU: start, parts, end.

Every part looks like the whole all-gather of 1024 x 128 numbers, and one stands in a loop of six trips.
"""

import pytest

from t5lite.planning.compiled import hlo, traffic
from t5lite.planning.compiled.collectives import collectives, located
from t5lite.planning.compiled.hlo_costs import Costs
from t5lite.planning.compiled.network import Network
from t5lite.planning.compiled.timeline import timeline
from t5lite.planning.hardware.topology import parse_topology

PART, WHOLE, BESIDE = 4 * 256 * 128, 4 * 1024 * 128, 4 * 512 * 128
"""Bytes of the operand, of the result, and of what the loop doubles meanwhile."""
GATHER = (
    "all-gather({operand}), channel_id=9, replica_groups=[1,4]<=[4], dimensions={{0}}, "
    'backend_config={{"async_collective_fusion_config":{{"flag_end":"1","flag_start":"-1"}}}}'
)
F = "f32[512,128], f32[256,128], f32[1024,128], f32[1024,128]"
TEXT = f"""
%begin (p: f32[256,128]) -> (f32[256,128], f32[1024,128], s32[2]) {{
  %p = f32[256,128] parameter(0)
  %g = f32[1024,128] {GATHER.format(operand="%p")}
  ROOT %s = (f32[256,128], f32[1024,128], s32[2]) custom-call(%g), custom_call_target="AsyncCollectiveStart"
}}

%meanwhile (p: f32[256,128], w: f32[1024,128], y: f32[512,128]) -> (f32[512,128], f32[256,128]) {{
  %p = f32[256,128] parameter(0)
  %w = f32[1024,128] parameter(1)
  %y = f32[512,128] parameter(2)
  %twice = f32[512,128] add(%y, %y)
  %g = f32[1024,128] {GATHER.format(operand="%p")}
  ROOT %t = ({F}) tuple(%twice, %p, %w, %g)
}}

%end (p: f32[256,128], w: f32[1024,128]) -> f32[1024,128] {{
  %p = f32[256,128] parameter(0)
  %w = f32[1024,128] parameter(1)
  %g = f32[1024,128] {GATHER.format(operand="%p")}
  ROOT %d = f32[1024,128] custom-call(%p, %w, %g), custom_call_target="AsyncCollectiveDone"
}}

%condition (c: (s32[], f32[256,128], f32[1024,128], f32[512,128])) -> pred[] {{
  %c = (s32[], f32[256,128], f32[1024,128], f32[512,128]) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %limit = s32[] constant(6)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}}

%body (b: (s32[], f32[256,128], f32[1024,128], f32[512,128])) -> (s32[]) {{
  %b = (s32[], f32[256,128], f32[1024,128], f32[512,128]) parameter(0)
  %j = s32[]{{:S(4)}} get-tuple-element(%b), index=0
  %bp = f32[256,128] get-tuple-element(%b), index=1
  %bw = f32[1024,128] get-tuple-element(%b), index=2
  %by = f32[512,128] get-tuple-element(%b), index=3
  %f = ({F}) fusion(%bp, %bw, %by), kind=kCustom, calls=%meanwhile
  %fy = f32[512,128] get-tuple-element(%f), index=0
  %fw = f32[1024,128] get-tuple-element(%f), index=3
  %step = s32[]{{:S(4)}} constant(1)
  %up = s32[]{{:S(4)}} add(%j, %step)
  ROOT %next = (s32[], f32[256,128], f32[1024,128], f32[512,128]) tuple(%up, %bp, %fw, %fy)
}}

ENTRY %main (a: f32[256,128], x: f32[512,128]) -> f32[1024,128] {{
  %a = f32[256,128] parameter(0)
  %x = f32[512,128] parameter(1)
  %started = (f32[256,128], f32[1024,128], s32[2]) fusion(%a), kind=kCustom, calls=%begin
  %so_far = f32[1024,128] get-tuple-element(%started), index=1
  %zero = s32[] constant(0)
  %all = (s32[], f32[256,128], f32[1024,128], f32[512,128]) tuple(%zero, %a, %so_far, %x)
  %loop = (s32[], f32[256,128], f32[1024,128], f32[512,128]) while(%all), condition=%condition, body=%body
  %there = f32[1024,128] get-tuple-element(%loop), index=2
  ROOT %gathered = f32[1024,128] fusion(%a, %there), kind=kCustom, calls=%end
}}
"""


def test_it_runs_as_often_as_it_starts():
    (found,) = collectives(hlo.parse(TEXT), {"fsdp": 4})
    assert (found.kind, found.runs, found.sent_bytes) == ("all-gather", 1, 3 / 4 * WHOLE)


def test_its_arrays_pass_through_main_memory_once():
    counters = 2 * 4 + 1  # the loop's condition
    expected = PART + WHOLE + 6 * (2 * BESIDE + counters)
    assert traffic.main_memory_bytes(hlo.parse(TEXT)) == pytest.approx(expected, rel=1e-3)


def test_a_collective_on_the_sparse_core_is_one():
    """As a TPU7x's compiler writes it: called by a custom call that an asynchronous operation calls."""
    text = """
%called (s: bf16[1,256,2048]) -> bf16[1,2048,2048] {
  %s = bf16[1,256,2048]{2,1,0:T(16,128)(2,1)} parameter(0)
  %pack = (bf16[1,256,2048]{2,1,0:T(16,128)(2,1)}) tuple(%s)
  %part = bf16[1,256,2048]{2,1,0:T(16,128)(2,1)} get-tuple-element(%pack), index=0
  ROOT %all-gather.16 = bf16[1,2048,2048]{2,1,0:T(16,128)(2,1)} all-gather(%part), channel_id=7, replica_groups=mesh['axis_0'=8] {'axis_0'}, dimensions={1}, use_global_device_ids=true
}, execution_thread="sparsecore"

%async (t: bf16[1,256,2048]) -> bf16[1,2048,2048] {
  %t = bf16[1,256,2048]{2,1,0:T(16,128)(2,1)} parameter(0)
  ROOT %custom-call.2 = bf16[1,2048,2048]{2,1,0:T(16,128)(2,1)} custom-call(%t), custom_call_target="of_another_name", called_computations={%called}
}, execution_thread="sparsecore"

ENTRY %main (shard: bf16[1,256,2048]) -> bf16[1,2048,2048] {
  %shard = bf16[1,256,2048]{2,1,0:T(16,128)(2,1)} parameter(0)
  %start = ((), (), (s32[8192]{0:T(1024)}, s32[145]{0:S(8)}, s32[0]{0})) async-start(), async_execution_thread="sparsecore", calls=%async
  %update = ((bf16[1,256,2048]{2,1,0:T(16,128)(2,1)}), bf16[1,2048,2048]{2,1,0:T(16,128)(2,1)}, (s32[8192]{0:T(1024)})) async-update(%start, %shard)
  ROOT %done = bf16[1,2048,2048]{2,1,0:T(16,128)(2,1)} async-done(%update)
}
"""  # noqa: E501
    module = hlo.parse(text)
    (found,) = collectives(module, {"fsdp": 8})
    assert (found.kind, found.axes, found.group_size, found.runs) == ("all-gather", ("fsdp",), 8, 1)
    assert found.sent_bytes == 2 * 2048 * 2048 * 7 / 8
    assert traffic.main_memory_bytes(module) == 2 * (256 + 2048) * 2048
    places = tuple((0, row, column, 0) for row in range(2) for column in range(4))
    costs = Costs(module, flops_per_second=1.0, memory_bandwidth=1e30)
    network = Network(parse_topology("v5e:2x4"), places)
    took = timeline(module, costs, located(module, {"fsdp": 8}), network)
    assert [wait.collective for wait in took.waits] == [found]  # nothing stands between start and end
    assert took.seconds == pytest.approx(network.seconds(found))
