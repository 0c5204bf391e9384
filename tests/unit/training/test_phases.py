"""The phases of a run."""

import pytest

from t5lite.training.phases import Phase, Phases


def test_the_innermost_phase_is_current_and_every_change_is_told_in_order() -> None:
    phases, seen = Phases(), list[tuple[Phase | None, float]]()
    phases.observe(lambda phase, when: seen.append((phase, when)))
    with phases.enter("evaluation"), phases.enter("input"):
        assert phases.current == "input"
    with pytest.raises(ValueError, match="a fault"), phases.enter("save"):
        raise ValueError("a fault")
    assert [phase for phase, _ in seen] == [None, "evaluation", "input", "evaluation", None, "save", None]
    assert [when for _, when in seen] == sorted(when for _, when in seen)
