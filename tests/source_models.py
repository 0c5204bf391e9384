"""The models that the recipes inherit which are in this repository, without a run of them."""

from pathlib import Path

from t5lite import run_config
from t5lite.models.config import ModelConfig

ROOT = Path(__file__).parents[1]
_RECIPES = {
    "runs/laptop": "configs/pretrain_laptop.py",
    "runs/bert": "configs/pretrain_bert.py",
    "runs/tiny": "tests/e2e/tiny_recipe.py",
    "runs/tiny-bert": "tests/e2e/tiny_bert_recipe.py",
}


def model_of_recipe(source: str, run_dir: str) -> ModelConfig:
    """Return the model that the run ``source`` has, for it is that of a recipe."""
    config = run_config.load(ROOT / _RECIPES[source])
    assert config.run_dir == source != run_dir
    return config.model
