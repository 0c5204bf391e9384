"""75 runs of three families on English dictionaries, none of which crosses a step that a law does not know.

    t5lite sweep configs/sweeps/dictionaries_branches.py

dictionaries.py says how to get the text. BERT's and T5's larger runs there began to read neighbours and the
encoder in the middle of training, and no law of the others knew (docs/scaling_experiment.md). Here all runs
of a family are on the same side of such a step:

- masked LM is ModernBERT (rotary positions, a local layer), which is past it after some 600 steps of 2,000 or
  more at its best widths;
- span corruption masks half of the text in spans of 32 tokens, one of UL2's denoisers: most of it is
  predicted from what stands before it in the span, and the encoder comes into use slowly;
- budgets are a factor of 1.41 apart, and rates constant until a decay over the last fifth, so that the runs
  of a width are branches of one.

The last two runs of a family (GPT's last three) lie beyond the budgets of the others, and each is predicted
by laws of all cheaper ones; the first of them is trained twice, by seeds 0 and 1. They warm up for a tenth of
their steps, as a ladder's runs do, the others for 100. Two layers (in each stack) at every width, heads of 8;
all below one epoch.
"""

from dataclasses import dataclass
from pathlib import Path

from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s

CONFIGS = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture with its objective."""

    recipe: str
    objective: r.CausalLM | r.MaskedLM | r.SpanCorruption
    rate: float
    """The highest, at a width of 64."""

    rule: s.Rule
    widths: tuple[int, ...]
    smallest: float
    """FLOPs of the smallest budget."""

    budgets: int
    """To which laws are fitted; each is 1.41 times the one before."""

    epoch_steps: int
    """After which the text would be seen again: no run is as long."""

    predicted: tuple[tuple[int, float], ...]
    """Widths, with multiples of the smallest budget, of the runs that all before them predict."""

    def runs(self) -> list[r.RunConfig]:
        """Return the runs, the predicted ones last, and the first of these once more by another seed."""
        recipe = s.recipe(
            str(CONFIGS / self.recipe),
            *("--training.batch-size", "16", "--model.vocab-size", "1152", "--model.dropout-rate", "0"),
            *("--training.total-steps", "1000", "--training.eval-every-steps", "1000"),
            *("--checkpoints.save-every-steps", "1000"),
            *("--data.store", "data/dictionaries/train"),
            *("--evaluations.heldout.store", "data/dictionaries/heldout"),
        )
        recipe = r.replace(
            recipe,
            model=sized(recipe.model, 64),
            data=r.replace(recipe.data, objective=self.objective),
            schedule=r.WarmupStableDecay(peak=self.rate, warmup_steps=100, decay_steps=200),
        )
        fitted = s.branches(
            recipe,
            models=[sized(recipe.model, width) for width in self.widths],
            budgets=[s.Flops(flops=self.smallest * 2 ** (step / 2)) for step in range(self.budgets)],
            rule=self.rule,
        )
        fitted = [run for run in fitted if run.training.total_steps < self.epoch_steps]
        predicted = [
            run
            for width, multiple in self.predicted
            for run in s.ladder(
                recipe,
                models=[sized(recipe.model, width)],
                budgets=[s.Flops(flops=self.smallest * multiple)],
                rule=self.rule,
            )
        ]
        return fitted + predicted + [r.replace(predicted[0], seed=1)]


def sized(model, width: int):
    """Return a model of two layers."""
    return s.resized(model, embed_dim=width, num_layers=2, num_heads=width // 8, head_dim=8)


FAMILIES = {
    "t5": Family(
        recipe="pretrain_laptop.py",
        objective=r.SpanCorruption(noise_density=0.5, mean_span_length=32),
        rate=0.05,
        rule=s.AsInRecipe(),  # Adafactor's updates are relative to each parameter
        widths=(32, 40, 56, 72),
        smallest=1.5e12,
        budgets=6,
        epoch_steps=8_900,
        predicted=((64, 8), (72, 8 * 2**0.5)),
    ),
    "gpt": Family(
        recipe="pretrain_gpt.py",
        objective=r.CausalLM(),
        rate=4e-3,
        rule=s.PowerOfWidth(exponent=-0.5),
        widths=(32, 48, 64, 96),
        smallest=1.5e12,
        budgets=6,
        epoch_steps=17_200,
        predicted=((80, 8), (88, 8 * 2**0.5), (96, 8 * 2**0.75)),
    ),
    "modernbert": Family(
        recipe="pretrain_modernbert.py",
        objective=r.MaskedLM(pack=True, mask_probability=0.3, heldout_mask_probability=0.15),
        rate=4e-3,
        rule=s.PowerOfWidth(exponent=-0.5),
        widths=(48, 64, 80, 96),
        smallest=2e12,
        budgets=5,
        epoch_steps=18_300,
        predicted=((72, 8), (88, 8 * 2**0.5)),
    ),
}


def sweep() -> s.Sweep:
    """Return the sweep."""
    return s.Sweep(
        directory="sweeps/dictionaries_branches",
        families={name: family.runs() for name, family in FAMILIES.items()},
    )
