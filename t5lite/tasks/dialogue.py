"""The next turn of a dialogue."""

from t5lite.tasks.fields import Turns
from t5lite.tasks.task import Task

DIALOGUE = Task(
    name="dialogue",
    about="what is said next in a dialogue",
    inputs="dialogue: {context}",
    targets="{response}",
    instruction="Go on with this dialogue by one turn.\n\n{context}",
    fields={"context": Turns()},
    metrics=("bleu", "chrf"),
    inputs_length=256,
    example={"context": ["Shall we go out?", "It is raining."], "response": "Then let us stay."},
)
