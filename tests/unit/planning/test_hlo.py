"""Reading a compiled module's text: loops, groups of devices, source lines."""

import re

import pytest

from t5lite.planning.compiled import hlo, hlo_costs, traffic
from t5lite.planning.compiled.collectives import collectives
from t5lite.planning.compiled.sources import source_line

TABLES = """HloModule jit_f, is_scheduled=true

FileNames
1 "/home/somebody/t5lite/models/layers/mlp.py"
2 "/home/somebody/train.py"
3 "/usr/lib/python3/site-packages/optax/transform.py"

FunctionNames
1 "mlp"

FileLocations
1 {file_name_id=2 function_name_id=1 line=9 end_line=9 column=1 end_column=2}
2 {file_name_id=1 function_name_id=1 line=47 end_line=47 column=1 end_column=2}
3 {file_name_id=3 function_name_id=1 line=5 end_line=5 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=3}
4 {file_location_id=3 parent_frame_id=2}
"""

LOOP = """
%condition (c: (s32[], f32[8,128])) -> pred[] {
  %c = (s32[], f32[8,128]) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %limit = s32[] constant(12)
  ROOT %less = pred[] compare(%i, %limit), direction=LT
}

%body (b: (s32[], f32[8,128])) -> (s32[], f32[8,128]) {
  %b = (s32[], f32[8,128]) parameter(0)
  %j = s32[] get-tuple-element(%b), index=0
  %x = f32[8,128]{1,0:T(8,128)S(1)} get-tuple-element(%b), index=1
  %sum = f32[8,128]{1,0:T(8,128)} all-reduce(%x), channel_id=3, replica_groups=GROUPS, to_apply=%add
  %step = s32[] constant(1)
  %up = s32[] add(%j, %step)
  ROOT %next = (s32[], f32[8,128]) tuple(%up, %sum)
}

%add (p: f32[], q: f32[]) -> f32[] {
  %p = f32[] parameter(0)
  %q = f32[] parameter(1)
  ROOT %r = f32[] add(%p, %q)
}

ENTRY %main (a: f32[8,128]) -> (s32[], f32[8,128]) {
  %a = f32[8,128] parameter(0)
  %zero = s32[] constant(0)
  %start = s32[] copy(%zero)
  %all = (s32[], f32[8,128]) tuple(%start, %a)
  ROOT %loop = (s32[], f32[8,128]) while(%all), condition=%condition, body=%body
}
"""


def test_a_body_runs_as_often_as_its_condition_says():
    module = hlo.parse(LOOP)
    runs = {name: computation.runs for name, computation in module.computations.items()}
    assert runs == {"main": 1, "body": 12, "condition": 12, "add": 12}
    assert module.computations["body"].caller.name == "loop"


def test_an_element_of_a_tuple_may_be_written_where_it_is_read():
    """As jaxlib 0.11 writes it; a shape has commas of its own, and a tuple may have tuples."""
    loop = LOOP.replace("f32[8,128]) parameter", "f32[8,128]{1,0:T(8,128)S(1)}) parameter")
    text = re.sub(r"\n  %\w = [^ ]+ get-tuple-element.*", "", loop)
    for name, element in {"i": "c#0", "j": "b#0", "x": "b#1"}.items():
        text = re.sub(rf"%{name}(?=[,)])", f"%{element}", text)
    text = text.replace("tuple(%start, %a)", "tuple(%start, /*index=1*/%pairs#1#0)").replace(
        "  %zero", "  %pairs = (s32[2,2]{1,0}, (f32[8,128]{1,0}, s32[])) custom-call(%a)\n  %zero"
    )
    assert "get-tuple-element" not in text
    found, expected = hlo.parse(text), hlo.parse(loop)
    assert {name: each.runs for name, each in found.computations.items()} == {
        name: each.runs for name, each in expected.computations.items()
    }
    body, main = (found.computations[name].instructions for name in ("body", "main"))
    assert body["b#1"].arrays == expected.computations["body"].instructions["x"].arrays
    assert (body["b#1"].tuple_index, body["b#1"].operands) == (1, ("b",))
    assert main["pairs#1#0"].arrays == main["a"].arrays


@pytest.mark.parametrize(
    "branches",
    [
        "branch_computations={%product, %scalars}",
        "true_computation=%scalars, false_computation=%product",
    ],
)
def test_of_a_conditional_no_branch_counts(branches):
    """Nobody knows which one runs; and the one of fewer lines may be the one that takes longer."""
    text = f"""
%product (p: f32[4096,4096]) -> f32[4096,4096] {{
  %p = f32[4096,4096] parameter(0)
  ROOT %dot = f32[4096,4096] dot(%p, %p), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}
}}

%scalars (q: f32[4096,4096]) -> f32[4096,4096] {{
  %q = f32[4096,4096] parameter(0)
  %one = f32[] constant(1)
  %two = f32[] add(%one, %one)
  ROOT %copy = f32[4096,4096] copy(%q)
}}

ENTRY %main (a: f32[4096,4096], c: s32[]) -> f32[4096,4096] {{
  %a = f32[4096,4096] parameter(0)
  %c = s32[] parameter(1)
  ROOT %r = f32[4096,4096] conditional(%c, %a, %a), {branches}
}}
"""
    module = hlo.parse(text)
    runs = {name: computation.runs for name, computation in module.computations.items()}
    assert runs == {"product": 0, "scalars": 0, "main": 1}
    assert (hlo_costs.products(module), traffic.transfers(module)) == ([], [])


def test_a_count_that_the_compiler_knows_goes_before():
    known = LOOP.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"5"}}')
    assert hlo.parse(known).computations["body"].runs == 5


@pytest.mark.parametrize(
    ("changes", "trips"),
    [
        ({"constant(1)": "constant(2)"}, 6),  # what the compiler has unrolled
        ({"constant(1)": "constant(5)"}, 3),
        ({"constant(0)": "constant(4)"}, 8),
        (
            {
                "%limit = s32[] constant(12)": "%limit = s32[] get-tuple-element(%c), index=2",
                "tuple(%up, %sum)": "tuple(%up, %sum, %same)",
                "%step = s32[] constant(1)": "%step = s32[] constant(1)\n"
                "  %same = s32[] get-tuple-element(%b), index=2",
                "tuple(%start, %a)": "tuple(%start, %a, %far)",
                "%zero = s32[] constant(0)": "%zero = s32[] constant(0)\n  %far = s32[] constant(7)",
            },
            7,
        ),
    ],
)
def test_a_counter_may_start_and_step_anywhere(changes, trips):
    text = LOOP
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    assert hlo.parse(text).computations["body"].runs == trips


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("constant(12)", "constant(true)"),
        ("direction=LT", "direction=NE"),
        ("add(%j, %step)", "multiply(%j, %step)"),
        ("constant(0)", "parameter(1)"),
    ],
)
def test_a_loop_that_nobody_can_count_is_not_guessed(before, after):
    assert before in LOOP
    with pytest.raises(ValueError, match="trip count of loop loop"):
        hlo.parse(LOOP.replace(before, after))


def test_text_without_an_entry_is_no_module():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("HloModule empty")


def test_arrays_know_their_size_and_where_they_are():
    x = hlo.parse(LOOP).computations["body"].instructions["x"].arrays[0]
    assert (x.dtype, x.dims, x.num_bytes, x.memory_space) == ("f32", (8, 128), 4096, 1)


@pytest.mark.parametrize(
    ("dtype", "num_bytes"),
    [
        *[(f"{sign}{bits}", bits) for sign in "su" for bits in (1, 2, 4, 8, 16, 32, 64)],
        *[("pred", 8), ("bf16", 16), ("f16", 16), ("f32", 32), ("f64", 64), ("c64", 64), ("c128", 128)],
        *[(name, 8) for name in ("f8e5m2", "f8e5m2fnuz", "f8e4m3", "f8e4m3fn", "f8e4m3fnuz", "f8e3m4")],
        *[("f8e4m3b11fnuz", 8), ("f8e8m0fnu", 8), ("f4e2m1fn", 4), ("token", 0), ("opaque", 0)],
    ],
)
def test_every_type_of_element_has_its_size(dtype, num_bytes):
    """For eight elements: bytes are the bits of one."""
    text = LOOP.replace("%a = f32[8,128]", f"%a = {dtype}[8]")
    assert hlo.parse(text).computations["main"].instructions["a"].arrays[0].num_bytes == num_bytes


def test_a_size_that_is_told_at_run_time_counts_as_the_largest():
    shape = "f32[<=8,128]{1,0:T(8,128)S(1)}"
    text = f'ENTRY %main () -> f32[] {{\n  ROOT %a = {shape} custom-call(), custom_call_target="x"\n}}'
    (array,) = hlo.parse(text).entry.root.arrays
    assert (array.dims, array.num_bytes, array.memory_space) == ((8, 128), 4096, 1)


@pytest.mark.parametrize("dtype", ["f", "q8", "f8x", "float32", "f8e4m3gn", "s4x"])
def test_elements_of_unknown_size_are_not_nothing(dtype):
    with pytest.raises(ValueError, match=rf"arrays of {dtype}: nobody knows how large"):
        hlo.parse(LOOP.replace("%a = f32[8,128]", f"%a = {dtype}[8]"))


@pytest.mark.parametrize(
    ("groups", "axes", "group"),
    [
        ("{{0,1},{2,3},{4,5},{6,7}}", ("tensor",), (0, 1)),
        ("{{0,2},{1,3},{4,6},{5,7}}", ("fsdp",), (0, 2)),
        ("[4,2]<=[8]", ("tensor",), (0, 1)),
        ("[4,2]<=[2,4]T(1,0)", ("replica",), (0, 4)),
        ("[2,4]<=[2,2,2]T(1,0,2)", ("replica", "tensor"), (0, 1, 4, 5)),
        ("mesh['a'=2,'b'=4] {'b'}", ("fsdp", "tensor"), (0, 1, 2, 3)),
        ("mesh['a'=2,'b'=4] {'a'}", ("replica",), (0, 4)),
        ("mesh['a'=4,'b'=1,'c'=2], device_ids=([2,4]T(1,0)) {'a'}", ("fsdp", "tensor"), (0, 1, 2, 3)),
        ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}", ("replica",), (0, 4)),
        ("mesh['a'=8] {'a':(2)2}", ("fsdp",), (0, 2)),
        ("mesh['a'=8] {'a':(1)4}", ("replica", "fsdp"), (0, 2, 4, 6)),
        ("{}", ("replica", "fsdp", "tensor"), tuple(range(8))),
    ],
)
def test_groups_are_axes_of_the_mesh(groups, axes, group):
    module = hlo.parse(LOOP.replace("GROUPS", groups))
    (found,) = collectives(module, {"replica": 2, "fsdp": 2, "sequence": 1, "tensor": 2})
    assert (found.axes, found.group, found.runs) == (axes, group, 12)
    assert found.sent_bytes == pytest.approx(2 * (len(group) - 1) / len(group) * 4096)


def test_groups_that_nobody_can_read_are_not_guessed():
    module = hlo.parse(LOOP.replace("GROUPS", "<something new>"))
    with pytest.raises(ValueError, match="unknown way"):
        collectives(module, {"replica": 2, "tensor": 4})


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (1, "/home/somebody/train.py:9"),
        (2, "t5lite/models/layers/mlp.py:47"),
        (3, "t5lite/models/layers/mlp.py:47"),
        (4, "optax/transform.py:5"),
        (99, ""),
    ],
)
def test_source_lines_are_this_packages_where_there_is_one(frame, line):
    text = TABLES + LOOP.replace("to_apply=%add", f"to_apply=%add, metadata={{stack_frame_id={frame}}}")
    module = hlo.parse(text)
    assert source_line(module, module.computations["body"].instructions["sum"]) == line
