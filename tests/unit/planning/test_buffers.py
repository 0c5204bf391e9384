"""What is said of the buffers at the peak, from notes of a compiler made by hand."""

from pathlib import Path

import pytest

from t5lite.models.layers import running
from t5lite.planning.compiled import hlo
from t5lite.planning.compiled.buffers import occupancy

MODULE = f"""HloModule jit_f, is_scheduled=true

FileNames
1 "/home/somebody/{running.__name__.replace(".", "/")}.py"
2 "/home/somebody/t5lite/models/layers/mlp.py"

FunctionNames
1 "f"

FileLocations
1 {{file_name_id=1 function_name_id=1 line=101 end_line=101 column=1 end_column=2}}
2 {{file_name_id=2 function_name_id=1 line=47 end_line=47 column=1 end_column=2}}

StackFrames
1 {{file_location_id=1 parent_frame_id=1}}
2 {{file_location_id=2 parent_frame_id=2}}

ENTRY %main (a: f32[8,128]) -> f32[8,128] {{
  %a = f32[8,128] parameter(0), metadata={{op_name="state.params['wi']"}}
  %looped = f32[8,128] negate(%a), metadata={{op_name="jvp()/while/body/slice" stack_frame_id=1}}
  %hidden = f32[8,128] exponential(%looped), metadata={{op_name="jvp()/while/body/exp" stack_frame_id=2}}
  ROOT %out = f32[8,128] add(%hidden, %hidden), metadata={{op_name="transpose(jvp())/add" stack_frame_id=2}}
}}
"""
ASSIGNMENT = """
allocation 0: size 4096, parameter 0, shape |f32[8,128]| at ShapeIndex {}:
 value: <1 a @0> (size=4096,offset=0): f32[8,128]{1,0}
allocation 1: size 4096, preallocated-temp:
 value: <2 looped @0> (size=4096,offset=0): f32[8,128]{1,0}
 value: <3 hidden @0> (size=4096,offset=0): f32[8,128]{1,0}
"""
LIVES = "BufferLiveRange:\n    a{{}}:0-9\n    {}{{}}:1-2\n    {}{{}}:2-3\nLive ranges at 2 (peak):\n"


@pytest.mark.parametrize("names", [("looped", "hidden"), ("hidden", "looped")])
def test_a_buffer_is_told_by_what_a_layer_makes_and_not_by_the_loop_over_layers(
    names: tuple[str, str], tmp_path: Path
):
    """Whichever of them is in the place first: the loop's line is that of every array of all layers."""
    (tmp_path / "m.after_optimizations-buffer-assignment.txt").write_text(ASSIGNMENT)
    (tmp_path / "m.after_optimizations-live-range.txt").write_text(LIVES.format(*names))
    found = occupancy(hlo.parse(MODULE), tmp_path)
    held, shared = sorted(found.buffers, key=lambda buffer: buffer.kind, reverse=True)
    assert (held.kind, held.op_name) == ("parameters", "state.params['wi']")
    assert (shared.kind, shared.num_bytes, shared.shape) == ("activations", 4096, "f32[8,128]")
    assert (shared.op_name, shared.source) == ("jvp()/while/body/exp", "t5lite/models/layers/mlp.py:47")
    assert found.gaps == 0
