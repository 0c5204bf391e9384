"""63 runs of three families on English dictionaries: 60 under five budgets, and three that they predict.

    apt-get download dict-gcide dict-foldoc dict-jargon dict-devil      # Debian's, 45 MB of text
    for package in dict-*.deb; do dpkg -x $package debian; done
    for name in gcide foldoc jargon devil; do
        zcat debian/usr/share/dictd/$name.dict.dz > text/$name.txt
    done
    t5lite prepare text --inputs text/*.txt --output data/dictionaries --vocabulary-size 1024 \
        --on-invalid-utf8 replace
    t5lite sweep configs/sweeps/dictionaries.py

Two layers (in each stack) at every width, heads of 8. Each budget has four widths around what is best for it;
the smallest runs make about a hundred steps of 16 rows. All stay below one epoch. The largest budget, four
times the largest that laws are fitted to, has one run a family: docs/scaling_experiment.md has the
predictions, which were committed before those were trained, and what came out.
"""

from pathlib import Path

from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s

CONFIGS = Path(__file__).parents[1]
FAMILIES: dict[str, tuple[str, s.Rule]] = {
    "t5": ("pretrain_laptop.py", s.AsInRecipe()),  # Adafactor's updates are relative to each parameter
    "gpt": ("pretrain_gpt.py", s.PowerOfWidth(exponent=-0.5)),
    "bert": ("pretrain_bert.py", s.PowerOfWidth(exponent=-0.5)),
}
WIDTHS = {
    1e11: (16, 24, 32, 48),
    2e11: (16, 24, 32, 48),
    4e11: (16, 32, 48, 64),
    8e11: (24, 32, 48, 64),
    1.6e12: (32, 48, 64, 80),
    6.4e12: (80,),
}
"""By FLOPs. The last budget is predicted."""


def runs(recipe: r.RunConfig, rule: s.Rule) -> list[r.RunConfig]:
    """Return the ladder of a recipe."""
    return [
        run
        for flops, widths in WIDTHS.items()
        for run in s.ladder(
            recipe,
            models=[
                s.resized(recipe.model, embed_dim=width, num_layers=2, num_heads=width // 8, head_dim=8)
                for width in widths
            ],
            budgets=[s.Flops(flops=flops)],
            rule=rule,
        )
    ]


def sweep() -> s.Sweep:
    """Return the sweep."""
    families = {
        family: (
            s.recipe(
                str(CONFIGS / name),
                *("--training.batch-size", "16", "--model.vocab-size", "1152"),
                *("--data.store", "data/dictionaries/train"),
                *("--evaluations.heldout.store", "data/dictionaries/heldout"),
            ),
            rule,
        )
        for family, (name, rule) in FAMILIES.items()
    }
    return s.Sweep(
        directory="sweeps/dictionaries", families={family: runs(*each) for family, each in families.items()}
    )
