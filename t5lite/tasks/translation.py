"""Translation: any text of which there is a reference."""

from t5lite.tasks.task import Task

TRANSLATION = Task(name="translation", metrics=("bleu", "chrf"))
