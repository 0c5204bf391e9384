"""Answers from memory (Roberts et al. 2020): a question alone, behind the name of its data set."""

from t5lite.tasks.fields import Answers
from t5lite.tasks.task import Task

CLOSED_BOOK_QA = Task(
    name="closed-book-qa",
    about="the answer to a question, from memory",
    inputs="{dataset} question: {question}",
    targets="{answer}",
    instruction="Answer this question.\n\n{question}",
    fields={"answer": Answers()},
    constants={"dataset": "trivia"},
    metrics=("exact_match", "token_f1"),
    inputs_length=64,
    targets_length=32,
    example={"question": "Who wrote Emma?", "answer": "Jane Austen"},
)
