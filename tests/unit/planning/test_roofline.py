"""Seconds by resource, from numbers made by hand."""

import pytest

from t5lite.planning.compiled.roofline import MAIN_MEMORY, MATRIX_UNIT, roofline
from t5lite.planning.hardware.links import NETWORK
from t5lite.planning.hardware.topology import parse_topology
from tests.unit.planning.handmade import collective, step

PERMUTE = "collective-permute"


def test_every_resource_takes_what_it_needs_at_its_speed():
    time = roofline(step())
    assert time.seconds == pytest.approx({MATRIX_UNIT: 2.0, MAIN_MEMORY: 1.0, "links x": 0.2})
    assert list(time.seconds) == [MATRIX_UNIT, MAIN_MEMORY, "links x"]
    assert (time.limiting, time.step_seconds) == (MATRIX_UNIT, 2.0)
    assert time.serial_seconds == pytest.approx(2.5 + 0.2)
    assert (time.scheduled_seconds, time.scheduled_mfu) == pytest.approx((2.25, 0.5 / 2.25))
    assert time.mfu == pytest.approx(0.5 / 2.0)
    assert time.serial_mfu == pytest.approx(0.5 / 2.7)


def test_axes_on_dimensions_of_their_own_do_not_add_up():
    rows = collective(axes=("tensor",), group=(0, 1, 2, 3))
    time = roofline(step(collectives=(collective(), rows)))
    assert time.axis_seconds == pytest.approx({"fsdp": 0.2, "tensor": 0.2})
    assert time.seconds["links x"] == time.seconds["links y"] == pytest.approx(0.2)
    assert time.serial_seconds == pytest.approx(2.5 + 0.4)


def test_a_collective_over_both_axes_keeps_both_dimensions_busy_for_half_the_time():
    both = collective(axes=("fsdp", "tensor"), group=tuple(range(16)))
    time = roofline(step(collectives=(collective(), both)))
    assert time.seconds["links x"] == pytest.approx(0.2 + 0.1)
    assert time.seconds["links y"] == pytest.approx(0.1)


def test_the_last_of_a_ring_is_beside_the_first():
    """Pairs of 16 in a ring send as fast from the last to the first as from the first to the second."""
    ring = parse_topology("v5e:16x16")
    places = tuple((0, row, column, 0) for row in range(16) for column in range(16))
    neighbours, ends = (
        roofline(
            step(topology=ring, places=places, collectives=(collective(kind=PERMUTE, group=group),))
        ).axis_seconds
        for group in ((0, 1), (0, 15))
    )
    assert ends == neighbours


def test_permutes_one_way_and_the_other_go_on_at_once():
    """On a line that does not wrap around, each takes half of the links; two of one way take turns."""
    there, back = (collective(kind=PERMUTE, group=group) for group in ((0, 4), (4, 0)))
    alone = roofline(step(collectives=(there,)))
    for name in ("axis_seconds", "seconds"):
        assert getattr(roofline(step(collectives=(there, back))), name) == getattr(alone, name)
    twice = roofline(step(collectives=(there, there))).axis_seconds
    assert twice["fsdp"] == pytest.approx(2 * alone.axis_seconds["fsdp"])


def test_what_crosses_slices_takes_the_slower_network():
    across = collective(kind="all-reduce", axes=("replica",), group=(), group_size=2)
    time = roofline(step(collectives=(across,)))
    assert time.seconds[NETWORK] == pytest.approx(1e10 / 3.125e9)
    assert time.limiting == NETWORK


def test_a_step_without_collectives():
    time = roofline(step(collectives=()))
    assert time.axis_seconds == {}
    assert time.serial_seconds == 2.5
