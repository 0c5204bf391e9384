r"""t5-1.1-xxl on v5e:16x16: what `t5lite plan` chose.

    t5lite plan --config configs/t5_1_1_xxl_span_corruption.py --chips v5e-256 --global-batch-size 2048 \
      --compile 1 --write configs/t5_1_1_xxl_v5e_256.py --overwrite
    t5lite compile --config configs/t5_1_1_xxl_v5e_256.py --topology v5e:16x16
    t5lite train --config configs/t5_1_1_xxl_v5e_256.py

For t5-1.1-xxl on v5e:16x16, 256 chips, 2048 rows of 512 + 114 tokens, adamw, of 7,070 ways the fastest by
prediction that leaves at least 1 GiB of a device free. By jax 0.10.2 and libtpu 0.0.52 it needs 12.7 GiB of
15.8 GiB, and a step takes at least 856 ms (matrix unit; MFU at most 99%), about 1.07 s as scheduled, 1.31 s
if nothing overlaps; predicted are 13 GiB and 856 ms (MFU 99%). It was not run there. What the command does
not say is as in configs/t5_1_1_xxl_span_corruption.py, which has 512 rows a step: learning rate, warm-up
and number of steps were not tuned for 2,048.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/t5-1.1-xxl",
        model=r.preset("t5-1.1-xxl"),
        execution=r.Execution(compute_dtype="bfloat16", remat="dots"),
        data=r.PretrainingDataConfig(store="data/c4/train"),
        optimizer=r.AdamWConfig(b2=0.99, weight_decay=0.01, multiply_by_parameter_rms=True),
        schedule=r.WarmupCosine(peak=0.01, warmup_steps=10_000, final_fraction=0.1),
        training=r.TrainingConfig(
            total_steps=500_000, batch_size=2048, log_every_steps=100, eval_every_steps=5000
        ),
        loader=r.LoaderConfig(num_workers=8),
        step=r.StepConfig(max_gradient_norm=1.0),
        evaluations={
            "heldout": r.EvaluationConfig(store="data/c4/heldout", batch_size=512, max_examples=8192)
        },
        checkpoints=r.CheckpointConfig(keep_last=3, keep_every_steps=50_000),
        partitioning=r.PartitioningConfig(fsdp=256),
    )
