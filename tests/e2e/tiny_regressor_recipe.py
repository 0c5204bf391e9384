"""Recipe of the end-to-end tests: the tiny BERT, fine-tuned to predict a number."""

import runpy
from pathlib import Path

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    make = runpy.run_path(str(Path(__file__).with_name("tiny_classifier_recipe.py")))["config"]
    return r.replace(
        make(),
        run_dir="runs/tiny-regressor",
        model=r.Inherited(head="sequence_regression"),
        data=r.NumbersDataConfig(store="data/train", inputs_length=32),
    )
