"""Recipe of the end-to-end tests: the tiny BERT, fine-tuned to make vectors of texts."""

import runpy
from pathlib import Path

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    classifier = runpy.run_path(str(Path(__file__).with_name("tiny_classifier_recipe.py")))["config"]()
    return r.replace(
        classifier,
        run_dir="runs/tiny-embedder",
        model=r.Inherited(head="sentence_embedding", embedding=r.SentenceEmbedding(symmetric=True)),
        data=r.TextPairsDataConfig(store="data/train", inputs_length=16, hard_negatives=True),
        evaluations=classifier.evaluations | {"sts": r.EvaluationConfig(store="data/sts")},
    )
