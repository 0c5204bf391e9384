"""What recipes are written with, and what is said of those that cannot be run."""

import ast
import dataclasses
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite import recipe, run_config
from t5lite.core.errors import ConfigError
from t5lite.core.python_source import WIDTH, python_source
from t5lite.run_config import FineTuningConfig, RunConfig
from tests.source_models import model_of_recipe

ROOT = Path(__file__).parents[2]
RECIPES = [*(ROOT / "configs").glob("*.py"), *(ROOT / "configs" / "reproductions").glob("*.py")]


def test_what_a_recipe_raises_keeps_its_cause(tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text("def config():\n    return helper()\ndef helper():\n    return {}['x']\n")
    with pytest.raises(ConfigError, match=r"recipe\.py, line 4: KeyError: 'x'") as refusal:
        run_config.load(path)
    assert isinstance(refusal.value.__cause__, KeyError)


def classes_of(kind: Any) -> set[type]:
    """Every dataclass that a field of this type may hold, its own fields' included."""
    inside = get_type_hints(kind).values() if dataclasses.is_dataclass(kind) else get_args(kind)
    itself = {kind} if dataclasses.is_dataclass(kind) else set()
    return itself.union(*map(classes_of, inside))


def test_what_recipes_are_written_with_is_in_one_place():
    classes = {kind.__name__: kind for kind in classes_of(RunConfig | FineTuningConfig)}
    assert {name: getattr(recipe, name, None) for name in classes} == classes
    laptops = {name for name in recipe.__all__ if name.startswith("LAPTOP_")}
    assert {*recipe.__all__} == {*classes, *laptops, "preset", "replace"}
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert [each.name for each in dataclasses.fields(RunConfig) if f"`{each.name}`" not in page] == []
    for path in RECIPES:
        _, imports, _ = ast.parse(text := path.read_text()).body
        assert ast.unparse(imports) == "from t5lite import recipe as r", path
        assert len(text.splitlines()) - imports.lineno <= 30, f"{path} is longer than a screen"


def test_every_configuration_can_be_written_as_a_recipe():
    """In the columns that the formatter allows, and what has its default is left out."""
    for path in RECIPES:
        config = run_config.load(path, read_source=model_of_recipe)
        source = python_source(config, prefix="r.", indent=4, column=11)
        assert eval(source, {"r": recipe}) == config, path
        assert max(map(len, source.splitlines())) <= WIDTH
        assert "watchdog=" not in source


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@settings(max_examples=50)
@given(st.recursive(SCALARS, lambda each: st.lists(each).map(tuple) | st.dictionaries(st.text(), each)))
def test_any_value_is_written_as_it_is(value: Any):
    assert eval(python_source(value)) == value


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("r.SpanCoruption()", r"AttributeError: .*'SpanCoruption'; did you mean 'SpanCorruption'\?$"),
        ("SpanCorruption()", r"NameError: .* is not defined; did you mean 'r\.SpanCorruption'\?$"),
        ("SpanDisruption()", r"NameError: .* is not defined$"),
        ("r.Zzz", r"AttributeError: .* has no attribute 'Zzz'$"),
        ("r.Ul2().noise", r"AttributeError: 'Ul2' object has no attribute 'noise'$"),
    ],
)
def test_a_name_that_there_is_not_is_said_with_the_one_that_is_meant(written, message, tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text(f"from t5lite import recipe as r\ndef config():\n    return {written}\n")
    with pytest.raises(ConfigError, match=f"line 3: {message}"):
        run_config.load(path)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("r.AdafactorConfig()", "r.AdafactorConfig", r"optimizer is the class AdafactorConfig; write Ada"),
        ('"heldout":', "5:", r"evaluations has the name 5, which must be a string$"),
    ],
)
def test_a_slip_that_no_class_refuses_is_named(right, wrong, message, tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text((ROOT / "configs" / "finetune_pairs.py").read_text().replace(right, wrong))
    with pytest.raises(ConfigError, match=rf"^recipe .*recipe\.py: {message}"):
        run_config.load(path)
