"""Pretrain on a mixture: text under two objectives and pairs of a task, each with a share of every batch.

    t5lite prepare text --inputs my_text/*.txt --output data/books --vocabulary-size 2048
    t5lite prepare pairs --inputs pairs.tsv --inputs-field 0 --targets-field 1 --output data/pairs \
        --prefix "translate English to Spanish: " --vocabulary data/books/vocabulary/spiece.model
    t5lite inspect-data --config configs/pretrain_mixture.py
    t5lite train --config configs/pretrain_mixture.py --run-dir runs/mixture

Multi-task pretraining as in Raffel et al. 2019, 3.5.3, at the shape of pretrain_laptop.py. Shares by weight:
a half of the rows is span corruption, three tenths heavier noise, a fifth pairs. For shares by size, leave
out the weights and set temperature and max_examples. To change the mixture of a run, change it here (or by
--data.sources.2.weight 0.4) and run the same command again.
"""

from t5lite.recipe import (
    LAPTOP_T5,
    AdafactorConfig,
    CheckpointConfig,
    EvaluationConfig,
    Execution,
    MixtureDataConfig,
    MixtureSource,
    PairsDataConfig,
    PretrainingDataConfig,
    RunConfig,
    SpanCorruption,
    TrainingConfig,
    WarmupStableDecay,
)


def config() -> RunConfig:
    """Return the recipe; copy this file and change what you need."""
    return RunConfig(
        run_dir="runs/mixture",
        model=LAPTOP_T5,
        execution=Execution(scan_unroll=-1),
        data=MixtureDataConfig(
            sources=(
                MixtureSource(
                    name="spans",
                    data=PretrainingDataConfig(store="data/books/train", inputs_length=128),
                    weight=0.5,
                ),
                MixtureSource(
                    name="heavy-noise",
                    data=PretrainingDataConfig(
                        store="data/books/train",
                        inputs_length=128,
                        objective=SpanCorruption(noise_density=0.3),
                    ),
                    weight=0.3,
                ),
                MixtureSource(
                    name="translation",
                    data=PairsDataConfig(
                        store="data/pairs/train", inputs_length=128, targets_length=128, pack=True
                    ),
                    weight=0.2,
                ),
            )
        ),
        optimizer=AdafactorConfig(),
        schedule=WarmupStableDecay(peak=0.05, warmup_steps=100, decay_steps=600),
        training=TrainingConfig(total_steps=1800, batch_size=32, log_every_steps=20, eval_every_steps=300),
        evaluations={
            "heldout": EvaluationConfig(store="data/books/heldout", source="heavy-noise", batch_size=64)
        },
        checkpoints=CheckpointConfig(save_every_steps=300, keep_last=1),
    )
