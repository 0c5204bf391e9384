"""GLUE (Wang et al. 2019): one sentence or a pair of them, in T5's published templates.

Columns, labels and their numbers are those of TFDS and Hugging Face's ``glue``; the names of columns stand in
the order of the alphabet, as T5's preprocessor has them.
"""

from collections.abc import Mapping
from typing import Any

from t5lite.tasks.fields import Label, RoundedNumber, TaskField
from t5lite.tasks.task import Splits, Task

_OF_CLASSES = ("accuracy", "majority_accuracy", "label_fraction")


def _task(
    name: str,
    columns: tuple[str, ...],
    label: TaskField,
    *,
    about: str,
    instruction: str,
    example: Mapping[str, Any],
    metrics: tuple[str, ...] = (),
    splits: Splits | None = None,
    labels: Mapping[str, str] | None = None,
) -> Task:
    return Task(
        name=name,
        about=about,
        inputs=" ".join([name, *(f"{column}: {{{column}}}" for column in columns)]),
        targets="{label}",
        instruction=instruction,
        fields={"label": label},
        labels=labels or {},
        metrics=metrics + _OF_CLASSES * label.names_class,
        targets_length=16,
        splits=splits or Splits(),
        example=example,
    )


COLA = _task(
    "cola",
    ("sentence",),
    Label(names=("unacceptable", "acceptable")),
    about="whether a sentence is grammatical",
    instruction="Is this an acceptable English sentence? Answer unacceptable or acceptable.\n\n{sentence}",
    metrics=("matthews",),
    example={"sentence": "The book was by John written.", "label": 0},
)
SST2 = _task(
    "sst2",
    ("sentence",),
    Label(names=("negative", "positive")),
    about="the sentiment of a sentence",
    instruction="What is the sentiment of this? Answer negative or positive.\n\n{sentence}",
    example={"sentence": "it 's a charming and often affecting journey .", "label": 1},
)
MRPC = _task(
    "mrpc",
    ("sentence1", "sentence2"),
    Label(names=("not_equivalent", "equivalent")),
    about="whether two sentences say the same",
    instruction="Do these say the same? Answer not_equivalent or equivalent.\n\n{sentence1}\n\n{sentence2}",
    metrics=("f1:equivalent",),
    example={"sentence1": "The index rose.", "sentence2": "The index went up.", "label": 1},
)
QQP = _task(
    "qqp",
    ("question1", "question2"),
    Label(names=("not_duplicate", "duplicate")),
    about="whether two questions ask the same",
    instruction="Do these ask the same? Answer not_duplicate or duplicate.\n\n{question1}\n\n{question2}",
    metrics=("f1:duplicate",),
    example={
        "question1": "Why do I easily get bored of my friends?",
        "question2": "Why do I get bored of friends so quickly?",
        "label": 1,
    },
)
STSB = _task(
    "stsb",
    ("sentence1", "sentence2"),
    RoundedNumber(unlabelled=-1),
    about="how alike two sentences are, from 0.0 to 5.0 in steps of 0.2",
    instruction="How alike are these, from 0.0 to 5.0 (the same)?\n\n{sentence1}\n\n{sentence2}",
    metrics=("pearson", "spearman"),
    labels={"number": "label"},
    example={
        "sentence1": "Three more US soldiers killed in Afghanistan",
        "sentence2": "NATO Soldier Killed in Afghanistan",
        "label": 1.8,
    },
)
MNLI = _task(
    "mnli",
    ("hypothesis", "premise"),
    Label(names=("entailment", "neutral", "contradiction")),
    about="whether a premise entails a hypothesis, contradicts it, or neither",
    instruction=(
        "Premise: {premise}\nHypothesis: {hypothesis}\nDoes the premise entail the hypothesis? Answer "
        "entailment, neutral or contradiction."
    ),
    splits=Splits(heldout=("validation_matched", "dev_matched", "validation", "dev")),
    example={
        "hypothesis": "Product and geography are what make cream skimming work.",
        "premise": "Conceptually cream skimming has two basic dimensions - product and geography.",
        "label": 1,
    },
)
QNLI = _task(
    "qnli",
    ("question", "sentence"),
    Label(names=("entailment", "not_entailment")),
    about="whether a sentence answers a question",
    instruction="{question}\n{sentence}\nIs the answer there? Say entailment or not_entailment.",
    example={
        "question": "When did the third Digimon series begin?",
        "sentence": "Unlike the two seasons before it, Digimon Tamers takes a darker approach.",
        "label": 1,
    },
)
RTE = _task(
    "rte",
    ("sentence1", "sentence2"),
    Label(names=("entailment", "not_entailment")),
    about="whether the first sentence entails the second",
    instruction=(
        "{sentence1}\nDoes this entail the next sentence? Answer entailment or not_entailment.\n{sentence2}"
    ),
    example={
        "sentence1": "Yet, we now are discovering that antibiotics are losing their effectiveness.",
        "sentence2": "Bacteria is winning the war against antibiotics.",
        "label": 0,
    },
)
WNLI = _task(
    "wnli",
    ("sentence1", "sentence2"),
    Label(names=("not_entailment", "entailment")),
    about="whether the second sentence, a pronoun of the first resolved, follows from it",
    instruction="{sentence1}\nDoes the next follow? Answer not_entailment or entailment.\n{sentence2}",
    example={
        "sentence1": "I stuck a pin through a carrot. When I pulled the pin out, it had a hole.",
        "sentence2": "The carrot had a hole.",
        "label": 1,
    },
)
