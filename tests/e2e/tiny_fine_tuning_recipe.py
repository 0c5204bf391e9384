"""Recipe of the end-to-end tests: what the tiny model's run holds, or an adapter's, is trained on."""

import runpy
from pathlib import Path

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    make = runpy.run_path(str(Path(__file__).with_name("tiny_lora_recipe.py")))["config"]
    config: r.FineTuningConfig = make()
    return r.replace(config, run_dir="runs/tiny-tuned", adapter=r.NoAdapter())
