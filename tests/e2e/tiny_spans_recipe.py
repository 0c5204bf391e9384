"""Recipe of the end-to-end tests: the tiny BERT, fine-tuned to point at answers."""

import runpy
from pathlib import Path

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    make = runpy.run_path(str(Path(__file__).with_name("tiny_classifier_recipe.py")))["config"]
    return r.replace(
        make(),
        run_dir="runs/tiny-spans",
        model=r.Inherited(head="span_extraction"),
        data=r.SpansDataConfig(store="data/train", inputs_length=32),
    )
