"""Ready tasks give what T5's published preprocessors do: their tests' and docstrings' own examples."""

import pytest

from t5lite.data.reading.tally import Loss
from t5lite.tasks import TASKS
from t5lite.tasks.rows import TaskRows

SQUAD = {
    "context": "Some context.",
    "question": "A question?",
    "answers.text": ["The answer."],
}
SPAN = {"context": "context with the answer.", "question": "Say what?", "answers.text.0": "the answer"}
CALLED = {"context": "Called the Denver Broncos.", "question": "Who?", "answers.text.0": "Denver Broncos"}
PAIR = {"sentence1": "Big news.", "sentence2": "No idea."}
QUESTIONS = {
    "question1": "Why do I easily get bored of my friends?",
    "question2": "Why do I get bored of friends so quickly?",
}


@pytest.mark.parametrize(
    ("task", "row", "inputs", "targets"),
    [
        ("translation", {"source": "That is good.", "target": "Das ist gut."},
         "translate English to German: That is good.", "Das ist gut."),
        ("summarization", {"document": "An article.", "summary": "A summary."},
         "summarize: An article.", "A summary."),
        ("extractive-qa", SQUAD, "question: A question ? context: Some context .", "The answer ."),
        ("span-extraction", SPAN,
         "question: Say what ? context: context with the answer .", "start: 2 end: 3"),
        ("span-extraction", CALLED,
         "question: Who ? context: Called the Denver Broncos .", "start: 2 end: 3"),
        ("stsb", {**PAIR, "label": 2.8}, "stsb sentence1: Big news. sentence2: No idea.", "2.8"),
        ("stsb", {**PAIR, "label": 1.66}, "stsb sentence1: Big news. sentence2: No idea.", "1.6"),
        ("qqp", {**QUESTIONS, "label": 1},
         "qqp question1: Why do I easily get bored of my friends? question2: Why do I get bored of friends "
         "so quickly?", "duplicate"),
        ("cola", {"sentence": "s", "label": 0}, "cola sentence: s", "unacceptable"),
        ("sst2", {"sentence": "s", "label": 1}, "sst2 sentence: s", "positive"),
        ("mrpc", {**PAIR, "label": 0}, "mrpc sentence1: Big news. sentence2: No idea.", "not_equivalent"),
        ("mnli", {"premise": "p", "hypothesis": "h", "label": 2},
         "mnli hypothesis: h premise: p", "contradiction"),
        ("qnli", {"question": "q", "sentence": "s", "label": 0},
         "qnli question: q sentence: s", "entailment"),
        ("rte", {**PAIR, "label": 1}, "rte sentence1: Big news. sentence2: No idea.", "not_entailment"),
        ("wnli", {**PAIR, "label": 1}, "wnli sentence1: Big news. sentence2: No idea.", "entailment"),
    ],
)  # fmt: skip
def test_rows_become_what_t5_reads_and_writes(task, row, inputs, targets):
    assert TaskRows(task=TASKS[task])(row, lambda loss: None)[:2] == [inputs, targets]


def test_a_span_that_is_not_there_is_no_example_and_one_at_the_end_is():
    rows, lost = TaskRows(task=TASKS["span-extraction"]), []
    assert rows({**CALLED, "answers.text.0": "Denver Bronscos"}, lost.append) is None
    assert lost == [Loss.NOT_THERE]
    ended = rows({**CALLED, "context": "Called the Denver Broncos"}, lost.append)
    assert ended[1] == "start: 2 end: 3"


def test_pairs_on_which_annotators_did_not_agree_are_left_out_and_counted():
    """As SNLI's files have it: ``gold_label`` is ``-`` in 176 of 10,000 pairs of its test split."""
    rows, lost = TaskRows(task=TASKS["mnli"], renamed=(("label", "gold_label"),)), []
    pair = {"premise": "p", "hypothesis": "h"}
    made = [rows({**pair, "gold_label": label}, lost.append) for label in ("neutral", "-", -1)]
    assert [each is None for each in made] == [False, True, True]
    assert lost == [Loss.NO_LABEL, Loss.NO_LABEL]


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("ner", {"tokens": ["a", "b"], "ner_tags": 0}, "2 words and 0 tags; give one tag a word"),
        ("ner", {"tokens": ["a"], "ner_tags": [9]}, "unknown tag 9; allowed: B-LOC.*, or their numbers"),
        ("ner", {"tokens": ["a"], "ner_tags": ["PER"]}, "unknown tag 'PER'"),
        ("ner", {"tokens": {"a": 1}, "ner_tags": [0]}, "words are a list of texts"),
        ("ner", {"tokens": [], "ner_tags": []}, "there are no words"),
        (
            "semantic-roles",
            {"tokens": "a b", "tags": "O O", "predicate": 2},
            "predicate='2' is not the number",
        ),
        ("semantic-roles", {"tokens": "a b", "tags": "O X", "predicate": 1}, "'X' is none of BIO"),
        ("dialogue", {"context": [{"text": "a"}], "response": "b"}, "is of type dict"),
    ],
)
def test_words_and_tags_that_do_not_belong_together(task, row, message):
    with pytest.raises(ValueError, match=message):
        TaskRows(task=TASKS[task])(row, lambda loss: None)


def test_tags_become_text():
    def written(task: str, tokens, tags, **row) -> str:
        tag_column = "ner_tags" if task.startswith("ner") else "tags"
        return TaskRows(task=TASKS[task])({"tokens": tokens, tag_column: tags, **row}, lambda loss: None)[1]

    words = ["Ada", "Lovelace", "met", "Mr", "Babbage", "in", "London"]
    assert written("ner", words, [1, 2, 0, 1, 2, 0, 5]) == "PER: Ada Lovelace; PER: Mr Babbage; LOC: London"
    assert (
        written("ner", words, "I-PER B-PER O O I-ORG I-PER O")
        == "PER: Ada; PER: Lovelace; ORG: Babbage; PER: in"
    )
    assert written("ner", ["a"], ["O"]) == "none"
    assert written("ner-tags", words[:3], [1, 2, 0]) == "B-PER I-PER O"
    roles = "B-ARG0 I-ARG0 B-V B-ARG1 I-ARG1 O O"
    assert written("semantic-roles", words, roles, predicate=2) == (
        "[ARG0 Ada Lovelace] [V met] [ARG1 Mr Babbage] in London"
    )
