"""``t5lite scaling count``: parameters and training FLOPs of a recipe or a shape, by every convention."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from t5lite.cli.models_command import LENGTHS
from t5lite.cli.recipe_options import RecipeOptions
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.models.parameter_count import count_embeddings, count_parameters
from t5lite.models.presets import preset
from t5lite.scaling.counting import CONVENTIONS, Shape, count_run, shape_of, trains_everything

_LENGTHS = ("encoder_length", "decoder_length")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Count parameters and training FLOPs by the conventions of published studies.

    Of a recipe, any field of which can be overridden, or of a shape of `t5lite models` on some tokens.
    """

    config: str | None = None
    """Recipe (.py) or saved config.json."""
    model: str | None = None
    """A shape of `t5lite models`; beside --config in place of the recipe's."""
    tokens: float | None = None
    """That a shape without a recipe is trained on, of both sides, such as 300e9."""
    encoder_length: int | None = None
    """Tokens of its rows; by default as `t5lite models` has it."""
    decoder_length: int | None = None
    """The same of the decoder."""
    json: bool = False
    """Print JSON, with exact numbers."""

    def __post_init__(self):
        expand_fields(self, "config", "model")
        if self.config is None and self.model is None:
            raise ConfigError("say what to count, by --config RECIPE or --model NAME")
        for name in ("tokens", *_LENGTHS):
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if value is None:
                continue
            if self.config is not None:
                raise ConfigError(f"{option} {value:g}: the recipe says it; override its fields")
            if not 1 <= value < float("inf"):
                raise ConfigError(f"{option} {value:g} must be 1 or more")


def run(arguments: Sequence[str]) -> int:
    """Print the counts, and return 0."""
    known, words = command_line.parse_known(Arguments, arguments, prog="t5lite scaling count")
    if known.config is None:
        command_line.parse(Arguments, arguments, prog="t5lite scaling count")  # refuses what is no option
    counted = _of_a_shape(known) if known.config is None else _of_a_recipe(known, words)
    print(json.dumps(counted, indent=2) if known.json else _text(counted))
    return 0


def _of_a_recipe(known: Arguments, words: Sequence[str]) -> dict[str, Any]:
    config = RecipeOptions(config=str(known.config), model=known.model).load(words)
    counts = {name: count_run(config, name) for name in CONVENTIONS}
    content = _content(str(known.config), shape_of(config), counts["exact"].tokens)
    for name, count in counts.items():
        content["conventions"][name] |= {
            "flops_per_token": count.flops / count.tokens,
            "training_flops": count.flops,
        }
    if not trains_everything(config):
        content["note"] = "part of the model is not trained: exact leaves it out, the others do not"
    return content


def _of_a_shape(known: Arguments) -> dict[str, Any]:
    model = preset(str(known.model))
    lengths = dict(LENGTHS[model.architecture])
    for name in _LENGTHS:
        given = getattr(known, name)
        if given is not None and name not in lengths:
            kind = model.architecture.replace("_", "-")
            raise ConfigError(
                f"--{name.replace('_', '-')} {given}: {known.model} is {kind} and has no such side; leave it "
                "out"
            )
        if given is not None:
            lengths[name] = given
    for length in lengths.values():
        model.check_length(length)
    return _content(str(known.model), Shape(model=model, **lengths), known.tokens)


def _content(name: str, shape: Shape, tokens: float | None) -> dict[str, Any]:
    params = count_parameters(shape.model)
    conventions: dict[str, dict[str, Any]] = {}
    for each, convention in CONVENTIONS.items():
        flops = convention.flops_per_token(shape)
        conventions[each] = {"params": convention.params(shape), "flops_per_token": flops}
        if tokens is not None:
            conventions[each]["training_flops"] = flops * tokens
    return {
        "name": name,
        "architecture": shape.model.architecture,
        **shape.lengths,
        **({"texts": shape.texts} if shape.texts > 1 else {}),
        "parameters": params,
        "embeddings": count_embeddings(shape.model),
        "tokens": tokens,
        "conventions": conventions,
    }


def _text(counted: dict[str, Any]) -> str:
    lengths = " + ".join(f"{counted[name]:,}" for name in _LENGTHS if counted[name])
    lengths = f"{counted['texts']} x {lengths}" if "texts" in counted else lengths
    tokens = counted["tokens"]
    lines = [
        f"{counted['name']}: {counted['architecture'].replace('_', '-')}, rows of {lengths} tokens"
        + ("" if tokens is None else f", {tokens:.4g} tokens in all"),
        f"{counted['parameters']:,} parameters, {counted['embeddings']:,} of them in embeddings and logits",
        "",
        f"{'convention':<14}{'parameters':>18}{'FLOPs/token':>14}{'training FLOPs':>16}",
    ]
    for name, count in counted["conventions"].items():
        total = f"{count['training_flops']:.4g}" if "training_flops" in count else ""
        lines.append(f"{name:<14}{count['params']:>18,}{count['flops_per_token']:>14.4g}{total:>16}".rstrip())
    lines += ["", *(f"{name}: {each.about}" for name, each in CONVENTIONS.items())]
    return "\n".join([*lines, *([counted["note"]] if "note" in counted else [])])
