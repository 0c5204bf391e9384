"""Bytes of main memory, counted in programs as XLA writes them for a TPU, against counting by hand."""

import pytest

from t5lite.planning.compiled import hlo, traffic

MIB = 2**20
STACK, LAYER = "bf16[8,1024,512]", "bf16[1,1024,512]"
"""All layers' arrays of 1 MiB, and one of them."""
VMEM = "{2,1,0:T(8,128)(2,1)S(1)}"


def moved(entry: str, computations: str = "") -> float:
    """MiB that an entry of these lines moves; ``%stack``, ``%layer`` and ``%i`` are its parameters."""
    text = f"""{computations}
ENTRY %main (stack: {STACK}, layer: {LAYER}, i: s32[]) -> {LAYER} {{
  %stack = {STACK} parameter(0)
  %layer = {LAYER} parameter(1)
  %i = s32[]{{:T(128)S(6)}} parameter(2)
  %zero = s32[]{{:T(128)S(6)}} constant(0)
{entry}
}}
"""
    return traffic.main_memory_bytes(hlo.parse(text)) / MIB


def fusion(inside: str, *, result: str = LAYER, operands: str = "%stack, %layer, %i") -> tuple[str, str]:
    """An entry of one fusion, and its inside, in which ``%p``, ``%q`` and ``%j`` are the operands."""
    head = f"""
%fused (p: {STACK}, q: {LAYER}, j: s32[]) -> {result} {{
  %p = {STACK} parameter(0)
  %q = {LAYER} parameter(1)
  %j = s32[] parameter(2)
  %c = s32[] constant(0)
"""
    entry = f"  ROOT %f = {result} fusion({operands}), kind=kLoop, calls=%fused"
    return entry, f"{head}{inside}\n}}\n"


SLICE = f"{LAYER} dynamic-slice(%p, %j, %c, %c), dynamic_slice_sizes={{1,1024,512}}"
UPDATE = f"{STACK} dynamic-update-slice(%p, %new, %j, %c, %c)"
NESTED = f"""
%same (s: {STACK}) -> bf16[8,1024,512,1] {{
  %s = {STACK} parameter(0)
  ROOT %b = bf16[8,1024,512,1] bitcast(%s)
}}
%sliced (t: {STACK}, k: s32[], d: s32[]) -> {LAYER} {{
  %t = {STACK} parameter(0)
  %k = s32[] parameter(1)
  %d = s32[] parameter(2)
  ROOT %one = {LAYER} dynamic-slice(%t, %k, %d, %d), dynamic_slice_sizes={{1,1024,512}}
}}
%stored (t: {STACK}, u: {LAYER}, k: s32[], d: s32[]) -> {STACK} {{
  %t = {STACK} parameter(0)
  %u = {LAYER} parameter(1)
  %k = s32[] parameter(2)
  %d = s32[] parameter(3)
  %ub = {LAYER} bitcast(%u)
  ROOT %there = {STACK} dynamic-update-slice(%t, %ub, %k, %d, %d)
}}
"""


@pytest.mark.parametrize(
    ("inside", "result", "expected"),
    [
        (f"  ROOT %r = {LAYER} add(%q, %q)", LAYER, 1 + 1),
        (f"  %x = {SLICE}\n  ROOT %r = {LAYER} add(%x, %q)", LAYER, 1 + 1 + 1),
        # Views, conversions and copies stand between the stack and what slices it.
        (
            f"  %w = f32[8,1024,512] convert(%p)\n  %y = f32[8,1024,512] copy(%w)\n"
            "  %x = f32[1,1024,512] dynamic-slice(%y, %j, %c, %c)\n"
            f"  %n = {LAYER} convert(%x)\n  ROOT %r = {LAYER} add(%n, %q)",
            LAYER,
            1 + 1 + 1,
        ),
        # So do nested fusions.
        (
            "  %f1 = bf16[8,1024,512,1] fusion(%p), kind=kLoop, calls=%same\n"
            f"  %v = {STACK} bitcast(%f1)\n"
            f"  %f2 = {LAYER} fusion(%v, %j, %c), kind=kLoop, calls=%sliced\n"
            f"  ROOT %r = {LAYER} add(%f2, %q)",
            LAYER,
            1 + 1 + 1,
        ),
        # Half of a slice is half of it; two slices are two; no more is read than there is.
        (
            f"  %x = {SLICE}\n  %h = bf16[1,512,512] slice(%x), slice={{[0:1], [0:512], [0:512]}}\n"
            "  ROOT %r = bf16[1,512,512] negate(%h)",
            "bf16[1,512,512]",
            0.5 + 0.5,
        ),
        (
            f"  %x = {SLICE}\n  %y = {SLICE.replace('%j', '%c', 1)}\n  ROOT %r = {LAYER} add(%x, %y)",
            LAYER,
            2 + 1,
        ),
        (f"  %x = {SLICE}\n  %n = {STACK} negate(%p)\n  ROOT %r = {STACK} add(%n, %n)", STACK, 8 + 8),
        # An array put together of two is sliced: a part of each.
        (
            "  %inf = bf16[] constant(-inf)\n"
            "  %left = bf16[16,1024,512] pad(%p, %inf), padding=0_8x0_0x0_0\n"
            "  %right = bf16[16,1024,512] pad(%p, %inf), padding=8_0x0_0x0_0\n"
            "  %both = bf16[16,1024,512] maximum(%left, %right)\n"
            "  ROOT %r = bf16[2,1024,512] dynamic-slice(%both, %j, %c, %c)",
            "bf16[2,1024,512]",
            2 + 2,
        ),
        # Updated in place: the update is written, and what it is made of read.
        (f"  %new = {LAYER} negate(%q)\n  ROOT %r = {UPDATE}", STACK, 1 + 1),
        (
            f"  %old = {SLICE}\n  %new = {LAYER} add(%old, %q)\n  ROOT %r = {UPDATE}",
            STACK,
            1 + 1 + 1,
        ),
        (
            f"  %n = {LAYER} negate(%q)\n"
            f"  ROOT %r = {STACK} fusion(%p, %n, %j, %c), kind=kLoop, calls=%stored",
            STACK,
            1 + 1,
        ),
        (
            f"  %n = {LAYER} negate(%q)\n"
            f"  %first = {STACK} fusion(%p, %n, %j, %c), kind=kLoop, calls=%stored\n"
            f"  %v = {STACK} bitcast(%first)\n"
            f"  ROOT %r = {STACK} dynamic-update-slice(%v, %n, %c, %c, %c)",
            STACK,
            1 + 2,
        ),
        # Not in place: what is updated is made here, so all of it is written.
        (
            f"  %new = {LAYER} negate(%q)\n  %w = {STACK} negate(%p)\n"
            f"  ROOT %r = {STACK} dynamic-update-slice(%w, %new, %j, %c, %c)",
            STACK,
            8 + 1 + 8,
        ),
        # An operand that is among the results is passed on.
        (
            f"  %n = {LAYER} negate(%q)\n  ROOT %r = ({STACK}, {LAYER}) tuple(%p, %n)",
            f"({STACK}, {LAYER})",
            1 + 1,
        ),
        (f"  ROOT %r = {STACK} bitcast(%p)", STACK, 0),
        # Everything is needed for a sum, and rows alone for a lookup.
        (
            "  %zero = bf16[] constant(0)\n  %x = bf16[8,1024] reduce(%p, %zero), dimensions={2}\n"
            "  ROOT %r = bf16[8,512] slice(%x), slice={[0:8], [0:512]}",
            "bf16[8,512]",
            8 + 8 * 512 * 2 / MIB,
        ),
        ("  ROOT %r = bf16[4,1024,512] gather(%p, %j)", "bf16[4,1024,512]", 4 + 4),
    ],
)
def test_a_fusion_reads_what_its_inside_needs(inside, result, expected):
    entry, computation = fusion(inside, result=result)
    assert moved(entry, NESTED + computation) == expected


def test_what_is_on_the_chip_is_not_in_main_memory():
    """Operand, result or both: each side counts for itself."""
    inside = f"  %x = {SLICE}\n  ROOT %r = {LAYER} add(%x, %q)"
    entry, computation = fusion(inside)
    on_chip = entry.replace(f"%f = {LAYER}", f"%f = {LAYER}{VMEM}")
    assert moved(on_chip, computation) == 2
    brought = f"  %v = {LAYER}{VMEM} copy(%layer)\n{on_chip.replace('%layer', '%v')}"
    assert moved(brought, computation) == 1 + 1


@pytest.mark.parametrize(
    ("start", "done", "expected"),
    [
        (f"({LAYER}{VMEM}, {LAYER}, u32[]{{:S(2)}}) copy-start(%layer)", "copy-done", 1),
        (f"({LAYER}{{2,1,0:S(5)}}, {LAYER}, u32[]{{:S(2)}}) copy-start(%layer)", "copy-done", 1),
        (f"({LAYER}, {LAYER}, u32[]{{:S(2)}}) copy-start(%layer)", "copy-done", 2),
        (f"(({STACK}), {LAYER}{VMEM}, s32[]{{:S(2)}}) async-start(%stack), calls=%piece", "async-done", 1),
        (f"(({STACK}), {LAYER}{VMEM}, s32[]{{:S(2)}}) slice-start(%stack), slice={{}}", "slice-done", 1),
        (f"({LAYER}, {STACK}) all-gather-start(%layer), replica_groups={{{{0,1}}}}", "all-gather-done", 9),
        (f"{LAYER} all-reduce-start(%layer), replica_groups={{{{0,1}}}}", "all-reduce-done", 2),
        (
            f"({LAYER}, {LAYER}, u32[]{{:S(2)}}, u32[]{{:S(2)}}) collective-permute-start(%layer)",
            "collective-permute-done",
            2,
        ),
        (f"({LAYER}, u32[], token[]) send(%layer, %i)", "send-done", 1),
        (f"({LAYER}, u32[], token[]) recv(%i)", "recv-done", 1),
    ],
)
def test_what_starts_and_ends_apart_moves_once(start, done, expected):
    piece = f"""
%piece (s: {STACK}) -> {LAYER} {{
  %s = {STACK} parameter(0)
  ROOT %one = {LAYER}{VMEM} slice(%s), slice={{[0:1], [0:1024], [0:512]}}
}}
"""
    entry = f"  %start = {start}\n  ROOT %done = {LAYER}{VMEM} {done}(%start)"
    found = moved(entry, piece)
    assert found == pytest.approx(expected, abs=1e-4)  # flags of four bytes


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        (f"{LAYER} dynamic-slice(%stack, %i, %zero, %zero)", 1 + 1),
        (f"{STACK} dynamic-update-slice(%stack, %layer, %i, %zero, %zero)", 1 + 1),
        (f"{STACK} scatter(%stack, %i, %layer)", 1 + 1 + 1),
        (f"{STACK} custom-call(), custom_call_target=\"AllocateBuffer\"", 0),
        (f"{STACK} custom-call(%layer, %layer), custom_call_target=\"ConcatBitcast\"", 0),
        (f"{STACK} bitcast(%stack)", 0),
        (f"{STACK} copy(%stack)", 8 + 8),
    ],
)  # fmt: skip
def test_an_instruction_moves_what_it_needs(instruction, expected):
    assert moved(f"  ROOT %r = {instruction}") == expected


def test_a_kernel_that_says_what_it_moves_has_a_part_of_it_on_the_chip():
    """Of 9 MiB it says to move 18, as it reads some twice; an eighth of the stack is on the chip."""
    estimate = f'"cost_estimate":{{"flops":"1","bytes_accessed":"{18 * MIB}"}}'
    call = f'custom-call(%stack), custom_call_target="tpu_custom_call", backend_config={{{estimate}}}'
    assert moved(f"  ROOT %r = {LAYER} {call}") == 18
    assert moved(f"  ROOT %r = {LAYER}{VMEM} {call}") == 16


@pytest.mark.parametrize(
    "start",
    [
        f"({LAYER}{VMEM}, {LAYER}, u32[]{{:S(2)}}) copy-start(%layer)",
        f"(({STACK}), {LAYER}{VMEM}, s32[]{{:S(2)}}) slice-start(%stack), slice={{[0:1], [0:1024], [0:512]}}",
        f"(({STACK}, s32[], s32[], s32[]), {LAYER}{VMEM}, s32[]{{:S(2)}}) "
        "dynamic-slice-start(%stack, %i, %i, %i), dynamic_slice_sizes={1,1024,512}",
    ],
    ids=["copy", "slice", "dynamic slice"],
)
def test_what_is_brought_to_the_chip_is_for_what_uses_it(start):
    """The compiler says of no copy of its own where it comes from."""
    name = 'metadata={op_name="jit(step)/mlp/mul"}'
    opcode = start.partition("(%")[0].split()[-1]
    text = f"""
ENTRY %main (layer: {LAYER}, stack: {STACK}, i: s32[]) -> {LAYER} {{
  %layer = {LAYER} parameter(0)
  %stack = {STACK} parameter(1)
  %i = s32[]{{:S(6)}} parameter(2)
  %start = {start}
  %done = {LAYER}{VMEM} {opcode.replace("start", "done")}(%start)
  ROOT %product = {LAYER} multiply(%done, %done), {name}
}}
"""
    told = [(each.kind, each.op_name) for each in traffic.transfers(hlo.parse(text))]
    assert told == [(opcode, "jit(step)/mlp/mul"), ("multiply", "jit(step)/mlp/mul")]
