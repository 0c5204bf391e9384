"""Chinchilla's model of 1,018 million parameters for 3e20 FLOPs: the recipe of its ladder.

    t5lite prepare text --inputs texts/*.jsonl.zst --output data/web32k --vocabulary-size 32000
    t5lite compile --config configs/reproductions/chinchilla_1018m.py --topology v5e:8x8
    t5lite train --config configs/reproductions/chinchilla_1018m.py --data.store gs-or-local/web32k/train

Source: Hoffmann et al. 2022, table A9 (1,018M: 23 layers, d 1,792, ffw 7,168, 14 heads of 128), section 3.2
and appendix B. configs/sweeps/chinchilla_ladder.py has other sizes under other budgets. Held to: a run's loss
is none of the paper's numbers; the ladder is held to N growing with C^0.49 and D with C^0.51 (approach 2).
AdamW; rows of 2,048 tokens, a vocabulary of 32,000; a cosine as long as the run that ends at a tenth.

Not as published: T5's relative bias stands for Transformer-XL's positions, whose d x d a layer are 74M of the
1,018M; MassiveText is not public. Ours, since the paper does not give them for the ladder: batch (256 rows),
warm-up, clipping, betas, weight decay; the peak lies between its 2e-4 (smallest) and 1.25e-4 (largest).
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    sizes = {"embed_dim": 1792, "mlp_dim": 7168, "num_heads": 14, "num_layers": 23}
    return r.RunConfig(
        run_dir="runs/chinchilla-1018m",
        model=r.replace(r.preset("chinchilla-70b"), **sizes),
        execution=r.Execution(compute_dtype="bfloat16", remat="gathered"),
        data=r.PretrainingDataConfig(store="data/web32k/train", inputs_length=2048, objective=r.CausalLM()),
        optimizer=r.AdamWConfig(b2=0.95, weight_decay=0.1),
        schedule=r.WarmupCosine(peak=1.6e-4, warmup_steps=1000, final_fraction=0.1),
        training=r.TrainingConfig(total_steps=93_700, batch_size=256, log_every_steps=100),
        step=r.StepConfig(z_loss=0.0, max_gradient_norm=1.0),
        loader=r.LoaderConfig(num_workers=8),
        evaluations={"heldout": r.EvaluationConfig(store="data/web32k/heldout", batch_size=256)},
        checkpoints=r.CheckpointConfig(save_every_steps=2000, keep_last=3),
    )
