"""``t5lite prepare``: raw text or text pairs to a vocabulary and token stores, also by an offline recipe."""

import importlib.util
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.home import expanded_path
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.data.prepare import PreparePairsConfig, PrepareTextConfig
from t5lite.data.reading.tally import messages
from t5lite.data.vocabulary import SentencePieceVocabulary
from t5lite.tasks.preparing import PrepareTaskConfig

Prepare = (
    Annotated[PrepareTextConfig, tyro.conf.subcommand("text", prefix_name=False)]
    | Annotated[PreparePairsConfig, tyro.conf.subcommand("pairs", prefix_name=False)]
    | Annotated[PrepareTaskConfig, tyro.conf.subcommand("task", prefix_name=False)]
)

RECIPE_MODULE = "t5lite_recipe"
"""Name under which a recipe file is imported; data_pipelines sends its classes to workers by value."""

_DESCRIPTION = (
    "Turn files into a vocabulary and token stores. To clean and deduplicate as well, on all cores or a "
    "cluster: t5lite prepare --recipe data_pipelines/recipes/NAME.py --help"
)


def run(arguments: Sequence[str]) -> int:
    """Prepare a corpus and say what was written."""
    if arguments and arguments[0].partition("=")[0] == "--recipe":
        return _run_recipe(arguments)
    config = command_line.parse(Prepare, arguments, prog="t5lite prepare", description=_DESCRIPTION)
    command = shlex.join(["t5lite", "prepare", *arguments])
    report = config.prepare(command=command)
    for name, counts in report["stores"].items():
        dropped = f", {counts['dropped_empty']:,} without tokens dropped" if counts["dropped_empty"] else ""
        examples = f"{counts['examples']:,} {config.unit}"
        print(f"{config.output}/{name}: {examples}, {counts['tokens']:,} tokens{dropped}")
    for line in messages(report["inputs"]["lost"], report["inputs"]["skipped"]):
        print(line)
    print(report["unknown_tokens"]["said"])
    for line in report["warnings"]:
        print(line)
    vocabulary = report["vocabulary"]
    if config.vocabulary is not None and vocabulary["kind"] == SentencePieceVocabulary.kind:
        _say_what_cannot_be_exported(place(config.output) / "vocabulary" / vocabulary["file"])
    print(f"{config.output}/vocabulary/{vocabulary['file']}: {vocabulary['size']:,} ids, sentinels included")
    return 0


def _say_what_cannot_be_exported(model: StoragePath) -> None:
    from t5lite.interop.huggingface import export_obstacle  # of flax, which only this needs

    if obstacle := export_obstacle(SentencePieceVocabulary(model)):
        print(f"warning: a model of this vocabulary trains, but cannot go to Hugging Face: {obstacle}")


def _run_recipe(arguments: Sequence[str]) -> int:
    """Run ``prepare(arguments, *, command)`` of a recipe file, which may import what t5lite does not."""
    option, _, given = arguments[0].partition("=")
    given, *rest = [given, *arguments[1:]] if given else (list(arguments[1:]) or [""])
    if not given:
        raise ConfigError(
            f"{option} needs the path of a recipe, such as data_pipelines/recipes/english_web.py"
        )
    path = expanded_path(given)
    if path.suffix != ".py" or not path.is_file():
        raise ConfigError(
            f"the recipe {path} is not a Python file; give one of data_pipelines/recipes or yours"
        )
    spec = importlib.util.spec_from_file_location(RECIPE_MODULE, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"the recipe {path} cannot be loaded; give a Python file")
    recipe: Any = importlib.util.module_from_spec(spec)
    sys.modules[RECIPE_MODULE] = recipe  # for --help, which looks a class up in its module
    try:
        spec.loader.exec_module(recipe)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        remedy = "run from the checkout" if missing == "data_pipelines" else "pip install 't5lite[data]'"
        raise ConfigError(f"the recipe {path} needs {missing}, which is not installed; {remedy}") from error
    except SyntaxError as error:
        raise ConfigError(f"the recipe {path} is not valid Python: {error}") from error
    if not hasattr(recipe, "prepare"):
        raise ConfigError(f"the recipe {path} does not define prepare(arguments, *, command)")
    return int(recipe.prepare(rest, command=shlex.join(["t5lite", "prepare", *arguments])))
