"""What holds for the repository as a whole: sizes, import costs, recipes, links, packaging."""

import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import t5lite
from t5lite import run_config
from tests import reliability_table
from tests.source_models import model_of_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted([*(ROOT / "configs").glob("*.py"), *(ROOT / "configs" / "reproductions").glob("*.py")])
PROSE = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def python_files() -> list[Path]:
    folders = ("t5lite", "tests", "configs", "benchmarks", "data_pipelines")
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def python(code: str) -> str:
    """Run ``code`` in a fresh interpreter, outside the repository, and return what it prints."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_file_is_more_than_one_room():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert long == {}


def test_every_extra_that_a_message_or_a_page_says_to_install_is_there():
    known = set(re.findall(r'^    "(\w+)": ', (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE))
    templates = (ROOT / "t5lite" / "launching" / "templates").rglob("*.*")
    named = {
        extra
        for path in [*python_files(), *PROSE, *templates]
        for extras in re.findall(r"t5lite\[([a-z0-9,]+)\]", path.read_text(encoding="utf-8"))
        for extra in extras.split(",")
    }
    assert {"gcs", "s3", "data", "tokenizers"} <= named <= known


def test_nothing_is_left_for_later():
    marks = re.compile(r"TO" r"DO|FIX" r"ME|XX" r"X\b|raise NotImplemented" r"Error")
    found = [path.name for path in python_files() if marks.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_test_files_have_distinct_names():
    """pytest imports test files by their bare names; two of one name shadow each other."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.slow
def test_every_module_imports_where_no_other_framework_is_installed():
    names = sorted(m.name for m in pkgutil.walk_packages(t5lite.__path__, prefix="t5lite."))
    assert "t5lite.core.types" in names
    code = f"""
import importlib, sys
for name in ("torch", "tensorflow", "transformers", "ray", "daft"):
    sys.modules[name] = None  # importing it raises ImportError
for name in {names!r}:
    importlib.import_module(name)
print("imported", len({names!r}))
"""
    assert python(code) == f"imported {len(names)}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["evaluat"]])
def test_a_command_line_without_a_command_does_not_import_jax(arguments):
    code = f"""
import sys
from t5lite.cli.main import main
main({arguments!r})
print("heavy:", sorted({{"jax", "flax", "numpy", "orbax"}} & set(sys.modules)))
"""
    assert python(code).endswith("heavy: []\n")


@pytest.mark.slow
def test_what_only_generates_does_not_import_how_one_trains():
    """A start is mostly imports: of 2 s, 1.4."""
    code = """
import sys
import t5lite.cli.generate_command
others = {"grain", "matplotlib", "pandas", "scipy", "sklearn", "tensorflow", "torch", "transformers"}
others |= {f"t5lite.training.{name}" for name in ("losses", "loop", "saving", "step", "telemetry")}
others |= {f"t5lite.{name}" for name in ("interop", "launching", "planning", "scaling", "serving")}
print("of others:", sorted(others & set(sys.modules)))
"""
    assert python(code) == "of others: []\n"


def test_every_command_exists():
    from t5lite.cli.main import COMMANDS

    paths = (ROOT / "t5lite" / "cli").glob("*_command.py")
    files = {path.stem.removesuffix("_command").replace("_", "-") for path in paths}
    assert files == set(COMMANDS)


def test_packaging_has_the_version_of_the_package():
    code = f"import os, sys; os.chdir({str(ROOT)!r}); sys.argv = ['setup.py', '--version']; import setup"
    assert python(code).split()[-1] == t5lite.__version__


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_loads_and_its_header_says_how_it_is_run(path):
    config = run_config.load(path, read_source=model_of_recipe)
    assert run_config.from_json(json.dumps(run_config.to_json(config))) == config
    header = path.read_text(encoding="utf-8").split('"""')[1]
    assert str(path.relative_to(ROOT)) in header


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_prose_resolve(path):
    text = path.read_text(encoding="utf-8")
    targets = [link.partition("#")[0] for link in LINK.findall(text) if not re.match(r"[a-z]+:|#", link)]
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_shows_real_output(path):
    assert "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}OUTPUT" not in path.read_text(encoding="utf-8")


def test_ci_installs_and_tests_as_readme_says():
    """CI adds only its number of workers to README's two commands."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install -e '.[test]' && pytest" in readme
    assert "pip install --quiet --no-compile -e '.[test]'" in ci
    assert re.search(r"^pytest -n 2 ", ci, flags=re.MULTILINE)


def test_layers_are_drawn_as_they_are_checked():
    """ARCHITECTURE.md draws the layers that import-linter holds, in the same order."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(c for c in settings["tool"]["importlinter"]["contracts"] if c["id"] == "layers")
    checked = [re.findall(r"\w+", re.sub(r"\(\w+\)", "", layer)) for layer in contract["layers"]]
    block = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("```")[1].strip().splitlines()
    assert len(block) == len(checked)
    for names, line in zip(checked, block, strict=True):
        positions = [line.find(name) for name in names]
        assert line.startswith(names[0])
        assert positions == sorted(positions)
        assert -1 not in positions


def test_the_table_of_faults_is_what_the_tests_say():
    assert reliability_table.page() == reliability_table.PAGE.read_text(encoding="utf-8"), (
        "run python -m tests.reliability_table"
    )
