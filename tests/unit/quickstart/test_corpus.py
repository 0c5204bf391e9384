"""The embedded text is whole, and its split leaks nothing."""

from collections import Counter

import pytest

from t5lite.core.errors import ConfigError
from t5lite.quickstart import corpus
from t5lite.quickstart.corpus import Corpus, Paragraph, Verse, normalize


@pytest.fixture(scope="module")
def parts() -> corpus.CorpusSplit:
    return corpus.split(corpus.austen(), corpus.verses())


def test_assets_are_whole():
    paragraphs, verses = corpus.austen(), corpus.verses()
    assert len(paragraphs) == 9846
    assert len(verses) == 31076
    assert Counter(paragraph.title for paragraph in paragraphs)["Persuasion"] == 998
    assert Counter(verse.testament for verse in verses) == {"ot": 23129, "nt": 7947}
    assert verses[0] == Verse(
        "ot",
        "In the beginning, God created the heavens and the earth.",
        "EN el principio crió Dios los cielos y la tierra.",
    )
    assert all(verse.english.strip() and verse.spanish.strip() for verse in verses)


def test_split_loses_nothing_and_has_the_size_asked_for(parts):
    for name, whole, fraction in (("paragraphs", corpus.austen(), 0.08), ("verses", corpus.verses(), 0.03)):
        train, heldout = getattr(parts.train, name), getattr(parts.heldout, name)
        assert Counter(train) + Counter(heldout) == Counter(whole)
        assert len(heldout) / len(whole) == pytest.approx(fraction, rel=0.1)


def test_no_text_stands_on_both_sides(parts):
    train, heldout = parts
    for texts in (
        lambda side: {normalize(paragraph.text) for paragraph in side.paragraphs},
        lambda side: {normalize(verse.english) for verse in side.verses},
        lambda side: {normalize(verse.spanish) for verse in side.verses},
        lambda side: set(corpus.pretraining_texts(side)),
        lambda side: {pair.targets for pair in corpus.translation_pairs(side)},
    ):
        assert not texts(train) & texts(heldout)


def test_verses_are_grouped_through_chains_of_repeats():
    verses = [
        Verse("ot", "Then Job answered,", "Y respondió Job."),
        Verse("ot", "Alone.", "Solo."),
        Verse("ot", "Then Job answered:", "Y exclamó Job, y dijo:"),
        Verse("ot", "Job cried out.", "Y EXCLAMÓ Job, y dijo:"),
    ]
    assert corpus.verse_groups(verses) == [0, 1, 0, 0]
    heldout_together = {
        len(corpus.split([], verses, verse_fraction=fraction / 10).heldout.verses)
        for fraction in range(1, 10)
    }
    assert heldout_together <= {0, 1, 3, 4}
    assert heldout_together & {3, 4}


def test_a_larger_fraction_only_adds_to_the_heldout_side(parts):
    larger = corpus.split(corpus.austen(), corpus.verses()[:1000], paragraph_fraction=0.2).heldout
    assert set(parts.heldout.paragraphs) < set(larger.paragraphs)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_an_empty_side_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"verse_fraction=.* use a value in \(0, 1\)"):
        corpus.split([], [], verse_fraction=fraction)


def test_few_labels_nest_and_are_a_fair_sample(parts):
    everything = corpus.classification_pairs(parts.train)
    assert corpus.classification_pairs(parts.train, limit=50) == everything[:50]
    sample, whole = (Counter(pair.targets for pair in pairs) for pairs in (everything[:1000], everything))
    assert set(sample) == set(whole)
    for title, count in whole.items():
        assert sample[title] / 1000 == pytest.approx(count / len(everything), abs=0.04)


def test_classification_has_600_heldout_examples_and_respects_the_length(parts):
    pairs = corpus.classification_pairs(parts.heldout, min_characters=100)
    assert len(pairs) >= 600
    assert all(len(pair.inputs) >= len("novel: ") + 100 for pair in pairs)
    majority = Counter(pair.targets for pair in pairs[:600]).most_common(1)[0]
    assert majority[0] == "Emma"
    assert 0.2 < majority[1] / 600 < 0.3


def test_tasks_are_spelled_as_t5_spells_them():
    side = Corpus((Paragraph("Emma", "She smiled."),), (Verse("nt", "Jesus wept.", "Y lloró Jesús."),))
    assert corpus.translation_pairs(side) == [("translate English to Spanish: Jesus wept.", "Y lloró Jesús.")]
    assert corpus.classification_pairs(side, min_characters=1) == [("novel: She smiled.", "Emma")]
    assert corpus.classification_pairs(side) == []
    assert corpus.pretraining_texts(side) == ["She smiled.", "Jesus wept.", "Y lloró Jesús."]
    with pytest.raises(ConfigError, match="limit=0"):
        corpus.translation_pairs(side, limit=0)
