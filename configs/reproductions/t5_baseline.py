"""T5's baseline: T5 1.0 base, i.i.d. denoising of C4, 2^19 steps of 2^16 tokens.

    t5lite prepare text --inputs c4/*.json.gz --output data/c4 --vocabulary spiece.model
    t5lite compile --config configs/reproductions/t5_baseline.py --topology v5e:4x4
    t5lite train --config configs/reproductions/t5_baseline.py --data.store gs-or-local/c4/train

Source: Raffel et al. 2020, sections 3.1.2 to 3.1.4; objectives/denoise.gin and iid_15_u_u.gin of the T5
library. Its 220M parameters are 222,903,552 with 32,128 rows; 2^35 tokens are a part of one epoch of C4.
Held to, after fine-tuning of each task (table 1): GLUE 83.28, CNN/DM ROUGE-2 19.24, SQuAD EM 80.88,
SuperGLUE 71.36, English-German 26.98 BLEU. The paper gives no loss.

Not as published: documents are joined, and every 511 tokens are a row, where the library cuts one chunk out
of a document and packs; noise leaves 501 of 512 inputs and 144 of 217 targets on average, the rest is
padding. C4 is whichever version you prepare. spiece.model is that of google-t5/t5-base.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/t5-baseline",
        model=r.replace(r.preset("t5-base"), dropout_rate=0.1),
        execution=r.Execution(compute_dtype="bfloat16", remat="gathered"),
        data=r.PretrainingDataConfig(
            store="data/c4/train", inputs_length=512, objective=r.IidDenoising(noise_density=0.15)
        ),
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
        checkpoints=r.CheckpointConfig(save_every_steps=2000, keep_last=3, keep_every_steps=64_000),
    )
