"""Recipe of the end-to-end tests: the tiny BERT, fine-tuned to tell two classes of text apart."""

import runpy
from pathlib import Path

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    make = runpy.run_path(str(Path(__file__).with_name("tiny_bert_recipe.py")))["config"]
    config: r.RunConfig = make()
    return r.FineTuningConfig(
        run_dir="runs/tiny-classifier",
        model=r.Inherited(head="sequence_classification", num_labels=2),
        data=r.PairsDataConfig(store="data/train", inputs_length=32),
        optimizer=config.optimizer,
        schedule=r.Constant(value=3e-3),
        training=r.replace(config.training, total_steps=60, batch_size=16, eval_every_steps=30),
        evaluations={"heldout": r.replace(config.evaluations["heldout"], max_examples=64)},
        checkpoints=config.checkpoints,
        initialize_from=r.InitializeFrom(run="runs/tiny-bert"),
    )
