"""T5 1.1 base by span corruption, as in the T5 paper's baseline: 2^19 steps x 128 x 512 tokens.

    t5lite train --config configs/t5_1_1_base_span_corruption.py --data.store gs-or-local/c4/train

For a TPU slice of 8 chips or more (`t5lite launch`). The T5 authors report a held-out NLL of 1.942 nats per
target token for T5 1.1 base on C4 after 2^16 steps; this recipe's own figure has not been measured yet.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/t5-1.1-base",
        model=r.preset("t5-1.1-base"),
        execution=r.Execution(compute_dtype="bfloat16", remat="gathered"),
        data=r.PretrainingDataConfig(store="data/c4/train", inputs_length=512),
        optimizer=r.AdafactorConfig(),
        schedule=r.InverseSqrt(base=1.0, warmup_steps=10_000),
        training=r.TrainingConfig(
            total_steps=524_288, batch_size=128, log_every_steps=100, eval_every_steps=5000
        ),
        loader=r.LoaderConfig(num_workers=8),
        evaluations={
            "heldout": r.EvaluationConfig(store="data/c4/heldout", batch_size=128, max_examples=8192)
        },
        checkpoints=r.CheckpointConfig(save_every_steps=2000, keep_last=3, keep_every_steps=50_000),
    )
