"""T5 1.1 base: span corruption of C4, 2^16 steps of 128 rows; a held-out NLL of 1.942 nats a target token.

    t5lite prepare text --inputs c4/*.json.gz --output data/c4 --vocabulary spiece.model
    t5lite compile --config configs/reproductions/t5_1_1_base.py --topology v5e:4x4
    t5lite train --config configs/reproductions/t5_1_1_base.py --data.store gs-or-local/c4/train

Source: Shazeer 2020, "GLU Variants Improve Transformer", section 3 and table 1 (GEGLU); shape, Adafactor,
z-loss and vocabulary also in t5x/examples/t5/t5_1_1/base.gin and configs/runs/pretrain.gin of T5X. Held to:
1.942 after 65,536 steps (nanoT5's README quotes it). No dropout; the rate falls as 1/sqrt(step) and, in the
last tenth of the steps, linearly to 0. 512 tokens in, 114 out; 247,577,856 parameters.

Of table 1's longer runs: --training.total-steps 524288 --schedule.decay-steps 52429. The paper's own tables
of input and output may be one, as in T5 1.0; T5 1.1 unties them, and so does this. The last tenth's decay is
as in the paper's text, which was not looked up again. C4 is whichever version you prepare.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/t5-1.1-base-65536",
        model=r.preset("t5-1.1-base"),
        execution=r.Execution(compute_dtype="bfloat16", remat="gathered"),
        data=r.PretrainingDataConfig(store="data/c4/train", inputs_length=512, objective=r.SpanCorruption()),
        optimizer=r.AdafactorConfig(),
        schedule=r.InverseSqrt(base=1.0, warmup_steps=10_000, decay_steps=6554),
        training=r.TrainingConfig(
            total_steps=65_536, batch_size=128, log_every_steps=100, eval_every_steps=5000
        ),
        step=r.StepConfig(z_loss=1e-4),
        loader=r.LoaderConfig(num_workers=8),
        evaluations={
            "heldout": r.EvaluationConfig(store="data/c4/heldout", batch_size=128, max_examples=8192)
        },
        checkpoints=r.CheckpointConfig(save_every_steps=2000, keep_last=3),
    )
