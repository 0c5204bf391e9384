"""T5-Efficient base, the recipe of all its shapes: span corruption of C4, 2^19 steps of 128 rows.

    t5lite prepare text --inputs c4/*.json.gz --output data/c4 --vocabulary spiece.model
    t5lite compile --config configs/reproductions/t5_efficient_base.py --topology v5e:4x4
    t5lite train --config configs/reproductions/t5_efficient_base.py --data.store gs-or-local/c4/train

Source: Tay et al. 2021, "Scale Efficiently", section 3; the cards of google/t5-efficient-* and
scaling_transformers/README.md of google-research (checkpoints until step 524k). Other shapes: --model
t5-efficient-tiny-nl8, or configs/sweeps/t5_efficient.py for a series of them. Held to: the cards' parameter
counts: 222.9 million of base; of the others 15.6 (tiny), 22.9 (tiny-nl8), 31.2 (mini), 60.5 (small), 737.7
(large). The paper's table of losses was not to be had where this was written, so no loss stands here.

Not as published: rows are joined as in t5_baseline.py. That dropout is 0.1 follows the T5 library's
bi_v1 models, which these are made of; the paper does not say.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/t5-efficient-base",
        model=r.replace(r.preset("t5-efficient-base"), dropout_rate=0.1),
        execution=r.Execution(compute_dtype="bfloat16", remat="gathered"),
        data=r.PretrainingDataConfig(store="data/c4/train", inputs_length=512, objective=r.SpanCorruption()),
        optimizer=r.AdafactorConfig(),
        schedule=r.InverseSqrt(base=1.0, warmup_steps=10_000),
        training=r.TrainingConfig(
            total_steps=524_288, batch_size=128, log_every_steps=100, eval_every_steps=5000
        ),
        step=r.StepConfig(z_loss=1e-4),
        loader=r.LoaderConfig(num_workers=8),
        evaluations={
            "heldout": r.EvaluationConfig(store="data/c4/heldout", batch_size=128, max_examples=8192)
        },
        checkpoints=r.CheckpointConfig(save_every_steps=2000, keep_last=3),
    )
