"""Every architecture answers what the rest asks of it, and what is said of it in two rooms agrees."""

from typing import get_args

import pytest

from t5lite.core.architectures import SIDES_OF, Architecture
from t5lite.data.objectives import OBJECTIVES, usual_objective
from t5lite.decoding import DECODING_MODES, decoding_programs
from t5lite.models.config import HEADS, ModelConfig
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
