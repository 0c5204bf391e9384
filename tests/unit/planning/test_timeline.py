"""A step as it is scheduled: laws of schedules made at random, and some made by hand."""

from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.planning.compiled import hlo
from t5lite.planning.compiled.collectives import Collective, located
from t5lite.planning.compiled.hlo_costs import Costs, products, serial_seconds
from t5lite.planning.compiled.network import Network
from t5lite.planning.compiled.timeline import Timeline, start_of, timeline
from t5lite.planning.compiled.traffic import main_memory_bytes
from t5lite.planning.hardware.topology import parse_topology
from tests.unit.planning.schedules import GROUPS, PAIRS, Step, module
from tests.unit.planning.test_spread_collectives import BESIDE as DOUBLED
from tests.unit.planning.test_spread_collectives import PART, WHOLE
from tests.unit.planning.test_spread_collectives import TEXT as SPREAD

ROW = 50e9
"""Bytes a second of each device along one dimension of v5e:4x4, a line of four; a permute's as well."""


class SlowNetwork(Network):
    """Sends a byte a second where that of v5e sends ``ROW``."""

    def run_seconds(self, collective: Collective) -> float:
        return ROW * super().run_seconds(collective)

    def seconds(self, collective: Collective) -> float:
        return collective.runs * self.run_seconds(collective)


PLACES = tuple((0, row, column, 0) for row in range(4) for column in range(4))
NETWORK = SlowNetwork(parse_topology("v5e:4x4"), PLACES)


def costs(made: hlo.Module) -> Costs:
    return Costs(made, flops_per_second=2.0, memory_bandwidth=1.0)


def found(made: hlo.Module) -> list:
    return list(located(made, {"fsdp": 4, "tensor": 4}))


def scheduled(made: hlo.Module) -> Timeline:
    return timeline(made, costs(made), found(made), NETWORK)


def seconds(*steps: Step) -> float:
    return scheduled(module(steps)).seconds


def serial(made: hlo.Module) -> float:
    return serial_seconds(made, costs(made)) + sum(NETWORK.seconds(each) for *_, each in found(made))


def least(made: hlo.Module) -> float:
    """What the busiest resource needs."""
    by_resource = defaultdict(list)
    for *_, each in found(made):
        for resource in NETWORK.route(each).resources:
            by_resource[resource].append(each)
    links = (NETWORK.exchange_seconds(using) for using in by_resource.values())
    flops = sum(product.flops for product in products(made))
    return max([flops / 2.0, main_memory_bytes(made), *links])


def steps_of(*kinds: st.SearchStrategy) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.one_of(*kinds), min_size=1, max_size=8)


LENGTH, LATER = st.integers(1, 30), st.integers(0, 4)
ALONE = st.tuples(st.sampled_from(["product", "read"]), LENGTH)
BESIDE = st.one_of(
    st.tuples(st.just("copy"), LENGTH, LATER),
    st.tuples(st.just("gather"), LENGTH, st.sampled_from([*GROUPS]), LATER),
    st.tuples(st.just("permute"), LENGTH, st.sampled_from([*PAIRS]), LATER),
)
STEPS = st.recursive(
    steps_of(ALONE, BESIDE),
    lambda inner: steps_of(ALONE, BESIDE, st.tuples(st.just("loop"), st.integers(1, 3), inner)),
    max_leaves=3,
)


@given(steps=STEPS)
def test_it_lies_between_the_bounds_and_waits_for_nothing_longer_than_that_takes(steps: Sequence[Step]):
    made, needed = module(steps), defaultdict[Collective | None, float](float)
    for *_, each in found(made):
        needed[each] += NETWORK.seconds(each)
    needed[None] = main_memory_bytes(made)
    took = scheduled(made)
    assert least(made) <= took.seconds * (1 + 1e-9)
    assert took.seconds <= serial(made) * (1 + 1e-9)
    for wait in took.waits:
        # Along one dimension of the torus, and perhaps later along the other.
        assert 0 < wait.seconds <= 2 * needed[wait.collective] * (1 + 1e-9)


@given(steps=STEPS, trips=st.integers(1, 4))
def test_a_loop_takes_as_often_what_its_body_takes(steps: Sequence[Step], trips: int):
    assert seconds(("loop", trips, steps)) == pytest.approx(trips * seconds(*steps))


@given(steps=steps_of(ALONE))
def test_without_anything_beside_them_instructions_add_up(steps: Sequence[Step]):
    assert seconds(*steps) == pytest.approx(sum(length for _, length in steps))


@given(work=st.integers(1, 30), first=LENGTH, second=LENGTH)
def test_resources_of_their_own_may_be_started_in_either_order(work: int, first: int, second: int):
    begun = [("gather", first, "fsdp", 2), ("copy", second, 2)]
    either = [seconds(*order, ("product", work)) for order in (begun, begun[::-1])]
    assert either[0] == pytest.approx(either[1]) == pytest.approx(max(work, 3 * first, second))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("gather", 2, "fsdp", 0)], 6),  # three of four bytes are sent
        ([("gather", 2, "fsdp", 0), ("product", 10)], 16),
        ([("gather", 2, "fsdp", 1), ("product", 10)], 10),
        ([("gather", 2, "fsdp", 1), ("product", 4)], 6),
        ([("gather", 2, "fsdp", 2), ("gather", 2, "tensor", 1), ("product", 4)], 6),
        ([("gather", 2, "fsdp", 2), ("gather", 2, "fsdp", 1), ("product", 4)], 12),
        ([("permute", 5, "there", 1), ("permute", 5, "back", 0)], 5),
        ([("permute", 5, "there", 1), ("permute", 5, "there", 0)], 10),
        ([("copy", 8, 1), ("product", 10)], 10),
        ([("copy", 8, 1), ("read", 10)], 18),  # main memory does one thing at a time
        ([("gather", 2, "fsdp", 1), ("loop", 3, [("product", 1)])], 6),
        ([("gather", 2, "fsdp", 1), ("loop", 3, [("product", 3)])], 9),
        ([("gather", 2, "fsdp", 1), ("loop", 3, [("gather", 1, "fsdp", 1), ("product", 3)])], 15),
    ],
)
def test_what_goes_on_beside_others_costs_what_they_do_not_hide(steps: list[Step], expected: float):
    assert seconds(*steps) == pytest.approx(expected)


_PAIR = "(u8[1]{0:S(1)}, u8[8]{0:S(1)})"


@pytest.mark.parametrize(
    ("between", "is_shown"),
    [
        (
            f"%t = (s32[], {_PAIR}) tuple(%z, %start)\n"
            f"  %b = (s32[], {_PAIR}) opt-barrier(%t)\n"
            f"  %e = {_PAIR} get-tuple-element(%b), index=1",
            True,
        ),
        (
            f"%i = ({_PAIR}, s32[]) tuple(%start, %z)\n"
            f"  %t = (s32[], ({_PAIR}, s32[])) tuple(%z, %i)\n"
            f"  %o = ({_PAIR}, s32[]) get-tuple-element(%t), index=1\n"
            f"  %e = {_PAIR} get-tuple-element(%o), index=0",
            True,
        ),
        (f"%e = {_PAIR} bitcast(%start)", True),
        (
            f"%t = (s32[], {_PAIR}) tuple(%z, %start)\n  %e = s32[] get-tuple-element(%t), index=0",
            False,
        ),
        (f'%e = {_PAIR} custom-call(), custom_call_target="AllocateBuffer"', False),
    ],
)
def test_an_end_waits_for_its_start_or_for_all_where_that_is_not_shown(between: str, is_shown: bool):
    """The gather takes 6 s, and the product 10 s after its end."""
    made = hlo.parse(f"""
ENTRY %main (z: s32[]) -> s32[] {{
  ROOT %z = s32[] parameter(0)
  %x = u8[2]{{0:S(1)}} custom-call(), custom_call_target="AllocateBuffer"
  %start = {_PAIR} all-gather-start(%x), replica_groups={GROUPS["fsdp"]}
  {between}
  %done = u8[1]{{0:S(1)}} all-gather-done(%e)
  %y = u8[10]{{0:S(1)}} custom-call(), custom_call_target="AllocateBuffer"
  %product = u8[1]{{0:S(1)}} dot(%y, %y), lhs_contracting_dims={{0}}, rhs_contracting_dims={{0}}
}}
""")
    of = made.entry.instructions
    assert start_of(made.entry, of["done"]) is (of["start"] if is_shown else None)
    assert scheduled(made).seconds == pytest.approx(16)


def test_one_waits_for_what_keeps_the_links_busy():
    """The short one is waited for, but mostly for the long one that is in front of it."""
    made = module([("gather", 20, "fsdp", 2), ("gather", 1, "fsdp", 0), ("product", 1)])
    waits = [(wait.collective and wait.collective.sent_bytes, wait.seconds) for wait in scheduled(made).waits]
    assert waits == [(60, pytest.approx(60)), (3, pytest.approx(3))]


def test_a_collective_that_is_spread_over_other_work_goes_on_until_its_end():
    """Beside a loop of six trips, which leaves main memory nothing for what the collective moves there."""
    made, network = hlo.parse(SPREAD), Network(NETWORK.topology, PLACES)
    on_links, of_loop = 3 / 4 * WHOLE, 6 * 2 * DOUBLED
    for slower, waited in ((1, PART + WHOLE), (16, 16 * on_links - of_loop)):
        speeds = Costs(made, flops_per_second=1.0, memory_bandwidth=slower * ROW)
        (wait,) = timeline(made, speeds, located(made, {"fsdp": 4}), network).waits
        assert wait.seconds * slower * ROW == pytest.approx(waited, rel=1e-3)


def test_what_comes_from_another_slice_has_been_sent_there():
    """As a TPU's compiler writes it: two halves that find each other by a name."""
    attributes = (
        'is_host_transfer=true, frontend_attributes={_xla_host_transfer_rendezvous="sum_0",'
        '_xla_megascale_transfer_type="ALL_REDUCE"}'
    )
    made = hlo.parse(f"""
ENTRY %main (z: s32[]) -> s32[] {{
  ROOT %z = s32[] parameter(0)
  %token = token[] after-all()
  %x = u8[12]{{0:S(1)}} custom-call(), custom_call_target="AllocateBuffer"
  %send = (u8[12]{{0:S(1)}}, u32[], token[]) send(%x, %token), channel_id=1, {attributes}
  %recv = (u8[12]{{0:S(1)}}, u32[], token[]) recv(%token), channel_id=2, {attributes}
  %recv-done = (u8[12]{{0:S(1)}}, token[]) recv-done(%recv), channel_id=2, {attributes}
  %more = u8[1]{{0:S(1)}} dot(%x, %x), lhs_contracting_dims={{0}}, rhs_contracting_dims={{0}}
  %send-done = token[] send-done(%send), channel_id=1, {attributes}
}}
""")
    slices = Network(parse_topology("v5e:4x4", num_slices=2), PLACES)
    slow = Costs(made, flops_per_second=2 * slices.topology.chip.network_bandwidth, memory_bandwidth=1.0)
    exchanged = located(made, {"replica": 2, "fsdp": 16}, num_slices=2)
    took = timeline(made, slow, exchanged, slices)
    sent = 12 / slices.topology.chip.network_bandwidth
    assert (took.work_seconds, took.seconds) == pytest.approx((sent, 2 * sent))
