"""ModernBERT base, the first phase: 1.719 trillion tokens at a length of 1,024.

    t5lite prepare text --inputs texts/*.jsonl.zst --output data/web --vocabulary ModernBERT-base
    t5lite compile --config configs/reproductions/modernbert_base.py --topology v5e:8x8
    t5lite train --config configs/reproductions/modernbert_base.py --data.store gs-or-local/web/train

Source: yamls/modernbert/modernbert-base-pretrain.yaml of AnswerDotAI/ModernBERT; Warner et al. 2024, section
2.2 and appendix A. Packed rows, 30 % asked for and 15 % in evaluations, 4,608 rows, 8e-4 after 3 billion
tokens and constant from there, betas 0.9 and 0.98, eps 1e-6; rotary base 10,000 in all layers; windows of 128
in two of three. Weight decay is 1e-5 an update there ("decoupled" from the rate, whose schedule it follows);
here it is times the rate: 1e-5 / 8e-4. 149M parameters (149,655,232 with the head). The paper gives no loss
of this phase; GLUE 88.4 is after the context's extension and the decay, which are not here.

Not as published: AdamW, not StableAdamW (which also limits an update's RMS); the batch is 4,608 from the
start, there it grows from 768 over 50 billion tokens; no dropout, there 0.1 on the attention's output alone;
steps count a row's 1,024 positions, of which up to 4 are padding. The data is not public.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/modernbert-base",
        model=r.replace(
            r.preset("modernbert-base"), max_length=1024, positions=r.RotaryPositions(base=10_000.0)
        ),
        execution=r.Execution(compute_dtype="bfloat16", remat="gathered"),
        data=r.PretrainingDataConfig(
            store="data/web/train",
            inputs_length=1024,
            objective=r.MaskedLM(pack=True, mask_probability=0.3, heldout_mask_probability=0.15),
        ),
        optimizer=r.AdamWConfig(b2=0.98, eps=1e-6, weight_decay=1e-5 / 8e-4),
        schedule=r.Constant(value=8e-4, warmup_steps=636),
        training=r.TrainingConfig(total_steps=364_304, batch_size=4608, eval_every_steps=4000),
        step=r.StepConfig(num_microbatches=4, z_loss=0.0),
        loader=r.LoaderConfig(num_workers=8),
        evaluations={"heldout": r.EvaluationConfig(store="data/web/heldout", batch_size=1024)},
        checkpoints=r.CheckpointConfig(save_every_steps=4000, keep_last=3, keep_every_steps=40_000),
    )
