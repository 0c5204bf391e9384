"""Tasks: what a model reads and writes of a row of named columns, and how that is scored.

Those imported here are the tasks that there are: a new one is one file and one line.
"""

from t5lite.tasks.answer_spans import ANSWER_SPANS as ANSWER_SPANS
from t5lite.tasks.classification import CLASSIFICATION as CLASSIFICATION
from t5lite.tasks.closed_book_qa import CLOSED_BOOK_QA as CLOSED_BOOK_QA
from t5lite.tasks.dialogue import DIALOGUE as DIALOGUE
from t5lite.tasks.extractive_qa import EXTRACTIVE_QA as EXTRACTIVE_QA
from t5lite.tasks.glue import COLA as COLA
from t5lite.tasks.glue import MNLI as MNLI
from t5lite.tasks.glue import MRPC as MRPC
from t5lite.tasks.glue import QNLI as QNLI
from t5lite.tasks.glue import QQP as QQP
from t5lite.tasks.glue import RTE as RTE
from t5lite.tasks.glue import SST2 as SST2
from t5lite.tasks.glue import STSB as STSB
from t5lite.tasks.glue import WNLI as WNLI
from t5lite.tasks.named_entities import NER as NER
from t5lite.tasks.named_entities import NER_TAGS as NER_TAGS
from t5lite.tasks.regression import REGRESSION as REGRESSION
from t5lite.tasks.semantic_roles import SEMANTIC_ROLES as SEMANTIC_ROLES
from t5lite.tasks.sentence_similarity import SENTENCE_SIMILARITY as SENTENCE_SIMILARITY
from t5lite.tasks.sentiment import SENTIMENT as SENTIMENT
from t5lite.tasks.span_extraction import SPAN_EXTRACTION as SPAN_EXTRACTION
from t5lite.tasks.summarization import SUMMARIZATION as SUMMARIZATION
from t5lite.tasks.task import Task
from t5lite.tasks.topic import TOPIC as TOPIC
from t5lite.tasks.translation import TRANSLATION as TRANSLATION
from t5lite.tasks.triplets import TRIPLETS as TRIPLETS

TASKS: dict[str, Task] = {
    task.name: task
    for task in sorted(
        (each for each in list(globals().values()) if isinstance(each, Task)), key=lambda task: task.name
    )
}
"""Every task that a recipe may name."""
