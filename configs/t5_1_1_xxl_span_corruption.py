"""T5 1.1 XXL (11 billion parameters) by span corruption, 512 x 512 tokens a step, on any slice that it fits.

    t5lite train --config configs/t5_1_1_xxl_span_corruption.py --data.store gs-or-local/c4/train

With full remat and one shard of the parameters a chip it is made to fit. What `t5lite plan` makes of it for
slices, with 2,048 rows, is in configs/t5_1_1_xxl_v5*.py. With 512 rows it takes less than 1.8 GiB of each of
256 v5e chips by --partitioning.style sequence_parallel --partitioning.tensor 16. It has been compiled for
slices and not run on them.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/t5-1.1-xxl",
        model=r.preset("t5-1.1-xxl"),
        execution=r.Execution(compute_dtype="bfloat16", remat="full"),
        data=r.PretrainingDataConfig(store="data/c4/train", inputs_length=512),
        optimizer=r.AdamWConfig(b2=0.99, weight_decay=0.01, multiply_by_parameter_rms=True),
        schedule=r.WarmupCosine(peak=1e-2, warmup_steps=10_000, final_fraction=0.1),
        training=r.TrainingConfig(
            total_steps=500_000, batch_size=512, log_every_steps=100, eval_every_steps=5000
        ),
        step=r.StepConfig(max_gradient_norm=1.0),
        loader=r.LoaderConfig(num_workers=8),
        evaluations={
            "heldout": r.EvaluationConfig(store="data/c4/heldout", batch_size=512, max_examples=8192)
        },
        checkpoints=r.CheckpointConfig(save_every_steps=1000, keep_last=3, keep_every_steps=50_000),
    )
