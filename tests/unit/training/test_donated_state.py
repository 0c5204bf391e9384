"""The flags that commands set for CPU have XLA update a donated state in place."""

import re

import jax
import pytest
from tiny_training import build, fresh, make_batch

from t5lite.cpu import flags

IN_PLACE = "xla_cpu_copy_insertion_use_region_analysis"


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_parameters_and_moments_are_not_copied(optimizer):
    assert f"--{IN_PLACE}" in flags._FLAGS
    parts = build(optimizer=optimizer)
    lowered = parts.compiled.lower(fresh(parts), make_batch(0))

    def copied(in_place: bool) -> list[str]:
        hlo = lowered.compile(compiler_options={IN_PLACE: in_place}).as_text()
        return re.findall(r" copy\(%(state_(?:params|opt_state).*?)\)", hlo)

    assert len(copied(False)) > len(jax.tree.leaves(parts.start.params))
    assert copied(True) == []
