"""Translation, in T5's words."""

from t5lite.tasks.task import Task

TRANSLATION = Task(
    name="translation",
    about="a text in another language",
    inputs="translate {source_language} to {target_language}: {source}",
    targets="{target}",
    instruction="Translate this from {source_language} to {target_language}.\n\n{source}",
    constants={"source_language": "English", "target_language": "German"},
    metrics=("bleu", "chrf"),
    inputs_length=128,
    targets_length=128,
    example={"source": "That is good.", "target": "Das ist gut."},
)
