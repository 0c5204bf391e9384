"""Where the answer to a question stands in a text: for an encoder that points at it, SQuAD's form."""

from t5lite.tasks.fields import AnswerPlaces
from t5lite.tasks.task import Task

ANSWER_SPANS = Task(
    name="answer-spans",
    about="the place in a text that answers a question, for an encoder that points at it",
    inputs="question: {question} context: {context}",
    targets="{places}",
    instruction="{context}\n\nAnswer in the words of the text, or with none if it does not say: {question}",
    fields={"places": AnswerPlaces()},
    metrics=("exact_match", "token_f1"),
    labels={"question": "question", "context": "context", "answers": "places"},
    inputs_length=384,
    targets_length=32,
    example={
        "question": "Who won?",
        "context": "The Denver Broncos won.",
        "answers": {"text": ["The Denver Broncos", "Denver Broncos"], "answer_start": [0, 4]},
    },
)
