"""Changes of inputs are the same for every model, and leave a task's prefix alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5lite.evaluation.perturbations import PERTURBATIONS, perturbed

TEXTS = st.lists(st.text(max_size=40), min_size=2, max_size=5)


@pytest.mark.parametrize("name", PERTURBATIONS)
@given(texts=TEXTS)
def test_what_befalls_a_text_is_fixed_and_spares_the_common_beginning(name, texts):
    prefix = "sentiment of: "
    inputs = [prefix + text for text in texts]
    found = perturbed(inputs, PERTURBATIONS[name])
    assert found == perturbed(inputs, PERTURBATIONS[name])
    assert all(text.startswith(prefix) for text in found)
    if name.endswith("case"):  # texts may have more words in common than the prefix, but not their last ones
        changed = str.lower if name == "lower case" else str.upper
        for text, given_text in zip(found, inputs, strict=True):
            assert changed(text) == changed(given_text)
            assert text.split(" ")[-1] == changed(given_text.split(" ")[-1])


@given(st.lists(st.text("abcdefghijklmnopqrstuvwxyzÄé", min_size=2, max_size=9), min_size=1, max_size=40))
def test_typos_stay_within_words_of_which_few_are_hit(words):
    text = " ".join(words)
    changed = PERTURBATIONS["typos"](text, random.Random(0)).split(" ")
    assert len(changed) == len(words)
    assert all(abs(len(new) - len(old)) <= 1 for new, old in zip(changed, words, strict=True))
    assert sum(new != old for new, old in zip(changed, words, strict=True)) <= 1 + len(words) // 2


def test_typos_are_those_of_a_keyboard():
    found = {PERTURBATIONS["typos"]("Dog 12 .", random.Random(seed)) for seed in range(200)}
    assert found - {"Dog 12 ."} == {
        *("oDg 12 .", "og 12 .", "DDog 12 .", "Sog 12 .", "Fog 12 ."),
        *("Dgo 12 .", "Dg 12 .", "Doog 12 .", "Dig 12 .", "Dpg 12 ."),
    }
    for text in ("", "12 a .", "日本 語"):
        PERTURBATIONS["typos"](text, random.Random(0))
