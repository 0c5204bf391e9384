"""Recipe of the end-to-end tests: an adapter beside the tiny model."""

import runpy
from pathlib import Path

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    make = runpy.run_path(str(Path(__file__).with_name("tiny_recipe.py")))["config"]
    config: r.RunConfig = make()
    return r.FineTuningConfig(
        run_dir="runs/tiny-lora",
        data=config.data,
        adapter=r.LoRA(rank=4, dropout=0.1),
        optimizer=r.AdamWConfig(),
        schedule=r.Constant(value=1e-2),
        training=r.replace(config.training, total_steps=16, eval_every_steps=16),
        evaluations=config.evaluations,
        checkpoints=r.CheckpointConfig(save_every_steps=8, keep_last=2),
        initialize_from=r.InitializeFrom(run="runs/tiny"),
    )
