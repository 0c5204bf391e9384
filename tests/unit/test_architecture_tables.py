"""Every architecture answers what the rest asks of it, and what is said of it in two rooms agrees."""

import ast
from pathlib import Path
from typing import get_args

import pytest

import t5lite
from t5lite.core.architectures import SIDES_OF, Architecture
from t5lite.data.objectives import OBJECTIVES, usual_objective
from t5lite.decoding import DECODING_MODES, decoding_programs
from t5lite.models.config import HEADS, AttentionBackend, ModelConfig
from t5lite.models.kernels.table import KERNELS
from t5lite.optim import OPTIMIZERS
from tests.families import FAMILIES


def test_every_table_has_every_architecture():
    kinds = set(get_args(ModelConfig))
    architectures = {kind.architecture for kind in kinds}
    assert architectures == set(DECODING_MODES) == set(SIDES_OF) == set(get_args(Architecture))


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_the_data_is_told_the_sides_that_the_model_has(config):
    assert config.sides == SIDES_OF[config.architecture]
    programs = decoding_programs(config, max_decode_length=4, eos_id=None)
    assert bool(programs) == config.writes
    for program in programs.values():
        assert {field.partition("_")[0] for field in program.fields} == {config.sides[0]}


def test_what_a_model_is_usually_trained_on_trains_it_and_only_heads_that_name_tokens_have_such():
    found = {
        (architecture, head): objective
        for architecture in SIDES_OF
        for head in (*HEADS, "language_model")
        if (objective := usual_objective(architecture, head))
    }
    assert {architecture for architecture, _ in found} == set(SIDES_OF)
    for (architecture, head), objective in found.items():
        assert architecture in OBJECTIVES[type(objective).__name__].architectures
        objective.check_head(head)
        assert head == "language_model" or HEADS[head].predicts_tokens


def test_a_kind_answers_for_itself_and_is_not_asked_which_it_is():
    """What differs between architectures, objectives or optimizers stands in their own files."""
    kinds = {kind.__name__ for kind in get_args(ModelConfig)} | {*OBJECTIVES, *OPTIMIZERS}
    asked = [
        f"{path}:{node.lineno}"
        for path in sorted(Path(t5lite.__file__).parent.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call | ast.Compare)
        and (isinstance(node, ast.Compare) or getattr(node.func, "id", "") in ("isinstance", "issubclass"))
        and any(isinstance(name, ast.Name) and name.id in kinds for name in ast.walk(node))
    ]
    assert asked == []


def test_a_configuration_may_name_every_kernel_of_attention_and_a_platform_has_one():
    assert get_args(AttentionBackend) == ("auto", "reference", *KERNELS)
    platforms = [platform for kernel in KERNELS.values() for platform in kernel.platforms]
    assert len(platforms) == len({*platforms})
