"""T5 1.1 XXL (11 billion parameters) by span corruption on 128 TPU v5p chips, 512 x 512 tokens a step.

    t5lite compile --config configs/t5_1_1_xxl_v5p_128.py --topology v5p:4x4x8
    t5lite train --config configs/t5_1_1_xxl_v5p_128.py --data.store gs-or-local/c4/train

The first command needs no TPU. Heads, mlp and vocabulary are split over 4 chips, which also share the length
between layers; 32 such groups share the batch and the parameters. What is left of a chip's 95 GiB has room
for a larger batch, or for remat "save". This recipe has been compiled for the slice and not run on it.
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
        partitioning=r.PartitioningConfig(style="sequence_parallel", fsdp=32, tensor=4),
    )
