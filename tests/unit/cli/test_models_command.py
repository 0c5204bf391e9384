"""``t5lite models`` lists every preset, and the docs show what it prints."""

import dataclasses
import json
import time
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.interop import FORMATS
from t5lite.models.config import DecoderOnlyConfig, EncoderDecoderConfig, EncoderOnlyConfig
from t5lite.models.config.json_form import to_json
from t5lite.models.parameter_count import count_parameters
from t5lite.models.presets import PRESETS, preset

PAGE = Path(__file__).parents[3] / "docs" / "models.md"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["models", *arguments]) == 0
    return capsys.readouterr().out


def test_every_preset_is_listed_with_its_size_and_formats(capsys):
    rows = json.loads(printed(capsys, "--json"))
    assert [row["name"] for row in rows] == list(PRESETS)
    for row in rows:
        assert row["parameters"] == count_parameters(preset(row["name"]))
        assert row["train_flops_per_token"] > 1e7
        assert set(row["formats"]) == {name for name, each in FORMATS.items() if not each.of_adapter}
    text = printed(capsys)
    assert all(f"\n{name} " in text for name in PRESETS)


def test_the_list_is_made_without_building_models(capsys):
    printed(capsys)
    start = time.process_time()
    printed(capsys)
    assert time.process_time() - start < 0.5


def test_formats_are_listed_with_their_directions_or_the_reason_against(capsys):
    rows = {row["name"]: row["formats"] for row in json.loads(printed(capsys, "--json"))}
    families = (
        "t5-1.1",
        "t5gemma",
        "t5gemma2",
        "modernbert",
        "roberta",
        "llama3",
        "mistral",
        "qwen2",
        "qwen3",
    )
    both = [name for name in rows if name.startswith(families)]
    assert {name.split("-")[0].split(".")[0] for name in both} == {f.split("-")[0] for f in families}
    for name in both:
        assert rows[name]["huggingface"] == {"export": True, "import": True, "why_not": None}
    assert isinstance(rows["lamda-137b"]["huggingface"]["why_not"], str)
    text = printed(capsys, "--filter", "t5-1.1-small")
    for name, each in rows["t5-1.1-small"].items():
        one_way = "" if each["export"] and each["import"] else " (export)" if each["export"] else " (import)"
        assert each["why_not"] is not None or name + one_way in text
    shown = printed(capsys, "lamda-137b")
    assert all(each["why_not"] is None or each["why_not"] in shown for each in rows["lamda-137b"].values())


@pytest.mark.parametrize(
    ("text", "name", "other"), [("BERT", "bert-tiny", "gpt2"), ("encoder-only", "bert-base", "t5-small")]
)
def test_filter_reads_names_and_architectures(capsys, text, name, other):
    names = {row["name"] for row in json.loads(printed(capsys, "--filter", text, "--json"))}
    assert name in names
    assert other not in names


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_filter_is_refused(text, capsys):
    assert main(["models", "--filter", text]) == 2
    assert "--filter is empty: is a shell variable not set?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["opt-350m", "t5-efficient-tiny-nl8", "bert-tiny"])
def test_one_model_is_shown_in_full(capsys, name):
    config = json.loads(json.dumps(to_json(preset(name))))  # tuples as lists
    assert json.loads(printed(capsys, name, "--json"))["config"] == config
    assert config.pop("type").endswith("Config")
    text = printed(capsys, name)
    assert "Source: " in text
    assert all(f"\n{field} " in text for field in config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpt-2"], "unknown model 'gpt-2'; did you mean 'gpt2'? `t5lite models` lists all of them"),
        (["--filter", "rnn"], "no model contains 'rnn'; `t5lite models` lists all of them"),
        (["--json", "--markdown"], "--json and --markdown are two ways to print the list; leave one out"),
        (["gpt2", "--markdown"], "--filter and --markdown are for the list; leave them out, or NAME"),
    ],
)
def test_mistakes_end_in_one_line(capsys, arguments, message):
    assert main(["models", *arguments]) == 2
    assert capsys.readouterr().err == f"t5lite models: {message}\n"


def test_the_page_shows_the_list(capsys):
    """To renew it, put the output of ``t5lite models --markdown`` between the two comments."""
    page = PAGE.read_text(encoding="utf-8")
    shown = page.partition("<!-- t5lite models --markdown -->\n")[2].partition("<!-- end -->")[0]
    assert shown == printed(capsys, "--markdown")


@pytest.mark.parametrize("kind", [EncoderDecoderConfig, EncoderOnlyConfig, DecoderOnlyConfig])
def test_the_page_explains_every_option(kind):
    page = PAGE.read_text(encoding="utf-8")
    assert [field.name for field in dataclasses.fields(kind) if f"`{field.name}`" not in page] == []
