"""What is printed and drawn of a compiled step."""

import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from t5lite import run_config
from t5lite.models.config import Execution
from t5lite.planning.compiled.timeline import Timeline
from t5lite.planning.hardware.chips import GIB
from t5lite.planning.report import page, pictures, table
from t5lite.planning.report.advice import advice
from t5lite.planning.report.summary import summarise
from t5lite.training.config import StepConfig
from tests.unit.planning.handmade import collective, step, transfer

RECIPE = Path(__file__).parents[2] / "e2e" / "tiny_recipe.py"
HBM = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm."
SVG = "{http://www.w3.org/2000/svg}"


def summary(made=None, advice=()):
    shape = {"batch_size": 512, "encoder_length": 512, "decoder_length": 128}
    return {"parameters": 7, "batch": shape, **summarise(made or step()), "advice": list(advice)}


def too_large():
    made = step()
    return replace(made, refusal=HBM, memory=replace(made.memory, activations=20 * GIB))


@pytest.mark.parametrize(
    ("num_bytes", "written"),
    [(0, "0 B"), (1023, "1.02e+03 B"), (1024, "1 KiB"), (1.81 * GIB, "1.81 GiB"), (16 * GIB, "16 GiB")],
)
def test_sizes(num_bytes, written):
    assert table.size(num_bytes) == written


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.0864, "86.4 ms"), (1.5, "1.5 s"), (3e-6, "3 us"), (0.9999, "1 s")]
)
def test_durations(seconds, written):
    assert table.duration(seconds) == written


def test_the_table_says_whether_it_fits_and_how_long_it_takes():
    text = table.table(summary())
    assert "v5e:4x4, 16 devices, mesh fsdp=4 x tensor=4" in text
    assert "fits: 8.5 GiB of 15.8 GiB a device (54%)" in text
    assert "at least 2 s (matrix unit; MFU at most 25%), and 2.7 s if nothing overlaps (MFU 19%)" in text
    assert re.search(r"activations +4 GiB +25\.4%", text)
    assert "bf16[12,8,512,2048]  activations  t5lite/models/layers/mlp.py:47 tanh" in text
    assert "\nas scheduled about 2.25 s (MFU 22%), 50 ms waiting for collectives\n" in text
    assert re.search(
        r"50 ms +of 200 ms +9\.31 GiB +all-gather +fsdp +t5lite/models/layers/mlp.py:47 gather", text
    )


def test_what_the_compiler_gave_up_for_is_said_where_the_device_has_room():
    made = replace(step(), refusal="Ran out of memory in memory space vmem")
    said = table.table(summary(made))
    assert "does not fit, though it wants 8.5 GiB of 15.8 GiB a device (54%); the compiler says: Ran" in said
    remedies = advice(made, Execution(), StepConfig(), style="fsdp")
    assert remedies[0].startswith("other --partitioning.compiler-options")
    assert not any(remedy.startswith("more chips") for remedy in remedies)


def test_traffic_is_listed_by_line_and_kind():
    moved = (
        transfer(num_bytes=2e9),
        transfer(num_bytes=4e9, kind="copy"),
        transfer(num_bytes=3e9),
        transfer(num_bytes=1e9, source="", op_name="params['head']"),
    )
    made = step(transfers=moved)
    assert "traffic" not in summarise(made)
    told = summarise(made, top=2, traffic=True)
    rows = [(row["kind"], row["instructions"], row["bytes"], row["cumulative"]) for row in told["traffic"]]
    assert rows == [("fusion", 2, 5e9, 0.5), ("copy", 1, 4e9, 0.9)]
    text = table.table(told)
    assert "traffic of main memory, 9.31 GiB a step" in text
    assert re.search(r"4.66 GiB +50.0% +50.0% +fusion +t5lite/models/layers/mlp.py:47 mul", text)
    assert re.search(r"3.73 GiB +40.0% +90.0% +copy ", text)


def test_what_does_not_fit_is_said_to():
    assert "does not fit: wants 24.5 GiB of 15.8 GiB a device (156%)" in table.table(summary(too_large()))


@pytest.mark.parametrize("execution", [Execution(), Execution(remat="offload", remat_names=("query",))])
def test_options_that_are_advised_are_those_of_the_run(execution, tmp_path):
    path, own = tmp_path / "recipe.py", f"execution=r.{execution}, data="
    path.write_text(RECIPE.read_text().replace("data=", own, 1))
    options = advice(too_large(), execution, StepConfig(), style="tensor_parallel")
    words = [shlex.split(each.partition(" (")[0]) for each in options if each.startswith("--")]
    loaded = [run_config.load(path, each) for each in words]
    assert [each.execution.remat for each in loaded].count("full") == 1
    assert len(loaded) == 3


def test_the_table_of_one_device_without_collectives():
    nothing = Timeline(work_seconds=2.2, waits=())
    alone = step(mesh={"replica": 1, "fsdp": 1}, collectives=(), timeline=nothing, buffers=())
    text = table.table(summary(alone))
    assert "mesh one device" in text
    assert "collectives" not in text


def test_the_summary_is_json():
    assert json.loads(json.dumps(summary()))["time"]["limiting"] == "matrix unit"


def test_collectives_of_one_line_are_one_row():
    made = step(collectives=(collective(), collective(group=(1, 5, 9, 13)), collective(source="other.py:1")))
    rows = summary(made)["collectives"]
    assert [(row["runs"], row["source"]) for row in rows] == [
        (4, "t5lite/models/layers/mlp.py:47"),
        (2, "other.py:1"),
    ]


def rectangles(text):
    return [
        float(rectangle.get("width"))
        for rectangle in ElementTree.fromstring(text).iter(f"{SVG}rect")
        if float(rectangle.get("height")) > 20
    ]


def test_the_memory_picture_is_to_scale():
    whole = 810  # of the picture, as wide as what there is or what is needed
    widths = rectangles(pictures.memory_picture(summary()))
    assert sum(widths) == pytest.approx(whole * 8.5 / 15.75, abs=0.5)
    assert widths[3] == pytest.approx(4 * widths[0], abs=0.5)
    assert sum(rectangles(pictures.memory_picture(summary(too_large())))) == pytest.approx(whole, abs=0.5)


def test_the_time_picture_is_to_scale():
    matrix_unit, main_memory, links, scheduled = rectangles(pictures.time_picture(summary()))
    assert scheduled == pytest.approx(2.25 / 2 * matrix_unit, abs=0.2)
    assert matrix_unit == pytest.approx(2 * main_memory, abs=0.2)
    assert matrix_unit == pytest.approx(10 * links, abs=0.5)


def test_the_page_stands_alone_and_escapes_what_it_shows():
    made = step(collectives=(collective(op_name="<lambda> & co", source=""),))
    text = page.page(summary(made, advice=["use < less"]), title="a <b> on v5e")
    assert "<title>a &lt;b&gt; on v5e</title>" in text
    assert "&lt;lambda&gt; &amp; co" in text
    assert "<li>use &lt; less</li>" in text
    assert not re.search(r"<script|<link|https?://(?!www\.w3\.org/2000/svg)", text)
    assert text.count("<svg") == 2
