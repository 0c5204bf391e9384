"""Recipe of the end-to-end tests: the tiny BERT, fine-tuned to tell two classes of text apart."""

import dataclasses
import runpy
from pathlib import Path

from t5lite.recipe import Constant, FineTuningConfig, Inherited, InitializeFrom, PairsDataConfig, RunConfig


def config() -> FineTuningConfig:
    make = runpy.run_path(str(Path(__file__).with_name("tiny_bert_recipe.py")))["config"]
    config: RunConfig = make()
    return FineTuningConfig(
        run_dir="runs/tiny-classifier",
        model=Inherited(head="sequence_classification", num_labels=2),
        data=PairsDataConfig(store="data/train", inputs_length=32),
        optimizer=config.optimizer,
        schedule=Constant(value=3e-3),
        training=dataclasses.replace(config.training, total_steps=60, batch_size=16, eval_every_steps=30),
        evaluations={"heldout": dataclasses.replace(config.evaluations["heldout"], max_examples=64)},
        checkpoints=config.checkpoints,
        initialize_from=InitializeFrom(run="runs/tiny-bert"),
    )
