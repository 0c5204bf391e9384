"""Named entities, in CoNLL-2003's columns: as text, and as a tag a word."""

from t5lite.tasks.fields import Entities, Tags, Words
from t5lite.tasks.task import Task

_TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
_EXAMPLE = {"tokens": ["Ada", "Lovelace", "lived", "in", "London", "."], "ner_tags": [1, 2, 0, 0, 5, 0]}

NER = Task(
    name="ner",
    about="the named entities of a sentence, each behind its kind",
    inputs="ner: {tokens}",
    targets="{entities}",
    instruction="Name persons (PER), organisations (ORG), places (LOC) and others (MISC).\n\n{tokens}",
    fields={"tokens": Words(), "entities": Entities(tags_column="ner_tags", tag_names=_TAGS)},
    metrics=("span_f1", "accuracy"),
    inputs_length=128,
    example=_EXAMPLE,
)
NER_TAGS = Task(
    name="ner-tags",
    about="a tag for each word of a sentence: BIO of its named entities",
    inputs="{tokens}",
    targets="{ner_tags}",
    instruction="Tag each word: O, or B- and I- of PER, ORG, LOC and MISC.\n\n{tokens}",
    fields={"tokens": Words(), "ner_tags": Tags(tag_names=_TAGS)},
    metrics=("entity_f1",),
    labels={"words": "tokens", "tags": "ner_tags"},
    inputs_length=128,
    targets_length=256,
    example=_EXAMPLE,
)
