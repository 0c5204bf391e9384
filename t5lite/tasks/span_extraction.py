"""Where an answer stands in a text, as the numbers of its words (T5's ``squad_span_space_tokenized``)."""

from t5lite.tasks.fields import PaddedPunctuation, WordSpan
from t5lite.tasks.task import Task

SPAN_EXTRACTION = Task(
    name="span-extraction",
    about="the first and the last word of the answer to a question, by their numbers in a text",
    inputs="question: {question} context: {context}",
    targets="{span}",
    instruction="{context}\n\nWhich words, by their numbers from 0, answer this: {question}",
    fields={
        "question": PaddedPunctuation(),
        "context": PaddedPunctuation(),
        "span": WordSpan(context_column="context", answer_column="answers.text.0"),
    },
    metrics=("accuracy",),
    targets_length=16,
    example={
        "question": "Who was called?",
        "context": "Called the Denver Broncos.",
        "answers": {"text": ["Denver Broncos"], "answer_start": [11]},
    },
)
