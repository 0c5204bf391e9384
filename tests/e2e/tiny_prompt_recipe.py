"""Recipe of the end-to-end tests: a prompt before the tiny model's inputs."""

import runpy
from pathlib import Path

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    make = runpy.run_path(str(Path(__file__).with_name("tiny_lora_recipe.py")))["config"]
    return r.replace(make(), run_dir="runs/tiny-prompt", adapter=r.PromptTuning(num_tokens=4))
