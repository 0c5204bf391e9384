"""Pretraining objectives: pure NumPy functions from token chunks to batch fields, one file each.

An objective is a frozen configuration; ``base.BaseObjective`` says what it answers.
Those imported here are the objectives that there are: a new one is one file and one line.
"""

from typing import TYPE_CHECKING, TypeAlias, get_args

from t5lite.core.errors import ConfigError
from t5lite.core.registry import union_of
from t5lite.data.objectives.base import BaseObjective
from t5lite.data.objectives.causal_lm import CausalLM as CausalLM
from t5lite.data.objectives.deshuffling import Deshuffling as Deshuffling
from t5lite.data.objectives.iid_denoising import IidDenoising as IidDenoising
from t5lite.data.objectives.masked_lm import MaskedLM as MaskedLM
from t5lite.data.objectives.prefix_lm import PrefixLM as PrefixLM
from t5lite.data.objectives.span_corruption import SpanCorruption as SpanCorruption
from t5lite.data.objectives.ul2 import Ul2 as Ul2

if TYPE_CHECKING:
    Objective: TypeAlias = BaseObjective
else:
    Objective = union_of(BaseObjective, globals())
"""Any objective; ``PretrainingDataConfig.objective`` is one of them."""

OBJECTIVES: dict[str, type[Objective]] = {kind.__name__: kind for kind in get_args(Objective)}
"""Every objective by its name."""

_USUAL: dict[tuple[str, str], Objective] = {
    ("encoder_decoder", "language_model"): SpanCorruption(),
    ("decoder_only", "language_model"): CausalLM(),
    ("encoder_only", "masked_lm"): MaskedLM(),
    ("encoder_only", "pretraining"): MaskedLM(next_sentence=True),
}


def usual_objective(architecture: str, head: str) -> Objective | None:
    """Return what models with such a head are usually trained on; None: they learn nothing of text alone."""
    return _USUAL.get((architecture, head))


def check_architecture(objective: Objective, architecture: str) -> None:
    """Check that an objective trains models of an architecture.

    Raises:
      ConfigError: listing the objectives that do, and the architectures that this one trains.
    """
    if architecture not in objective.architectures:
        fitting = [name for name, kind in OBJECTIVES.items() if architecture in kind.architectures]
        raise ConfigError(
            f"data.objective={type(objective).__name__} trains {' and '.join(objective.architectures)} "
            f"models, but model is {architecture}; use {' or '.join(fitting)}, or another model"
        )
