"""Semantic roles, in the style of PropBank: who did what to whom, for one predicate of a sentence."""

from t5lite.tasks.fields import MarkedPredicate, Roles
from t5lite.tasks.task import Task

SEMANTIC_ROLES = Task(
    name="semantic-roles",
    about="a sentence with the roles of one of its predicates in brackets",
    inputs="srl: {marked}",
    targets="{roles}",
    instruction="Put the roles of the word between asterisks in brackets.\n\n{marked}",
    fields={"marked": MarkedPredicate(), "roles": Roles()},
    metrics=("argument_f1", "accuracy"),
    inputs_length=128,
    targets_length=192,
    example={
        "tokens": ["The", "cat", "sat", "there", "."],
        "predicate": 2,
        "tags": ["B-ARG0", "I-ARG0", "B-V", "B-ARGM-LOC", "O"],
    },
)
