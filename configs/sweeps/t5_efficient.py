"""T5-Efficient: 12 of its shapes, each trained for 2^19 steps of 128 rows of C4, 12 runs.

    t5lite prepare text --inputs c4/*.json.gz --output data/c4 --vocabulary spiece.model
    t5lite sweep configs/sweeps/t5_efficient.py --list
    t5lite cost --config configs/sweeps/t5_efficient.py --chips v5e-16 --price 1.2
    t5lite sweep configs/sweeps/t5_efficient.py

The five sizes below XL, and the deep and narrow shapes that the paper recommends in their place. Source, what
they are held to and what is not as published: configs/reproductions/t5_efficient_base.py.
"""

from pathlib import Path

from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s

RECIPE = Path(__file__).parents[1] / "reproductions" / "t5_efficient_base.py"
NAMES = (
    *("tiny", "tiny-nl8", "mini", "mini-nl12", "small", "small-nl16", "small-nl36"),
    *("base", "base-nl4", "base-nl36", "large", "large-nl12"),
)


def sweep() -> s.Sweep:
    """Return the sweep; copy this file and change what you need."""
    recipe = s.recipe(str(RECIPE))
    models = s.named(recipe.model, [f"t5-efficient-{name}" for name in NAMES])
    runs = [r.replace(recipe, model=model) for model in models]
    return s.Sweep(directory="sweeps/t5-efficient", families={"t5-efficient": runs})
