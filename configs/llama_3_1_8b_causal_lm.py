"""Llama 3.1 8B from scratch as a causal language model, 512 rows of 8,192 tokens, on any slice that it fits.

    t5lite prepare text --inputs texts/*.jsonl.zst --output data/c4-llama --vocabulary Llama-3.1-8B
    t5lite train --config configs/llama_3_1_8b_causal_lm.py --data.store gs-or-local/c4-llama/train

Peak learning rate and batch (4M tokens) are those of Llama 3 8B (arXiv:2407.21783); the optimizer, warm-up
and the schedule's end are Llama 2's (arXiv:2307.09288), for a trillion tokens. To go on from Meta's weights,
`t5lite import` them and give --initialize-from.run, with a smaller peak. With full remat and one shard of the
parameters a chip it is made to fit; what `t5lite plan` makes of it for a slice is in
configs/llama_3_1_8b_v6e_256.py. It has been compiled for slices and not run on them.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/llama3.1-8b",
        model=r.preset("llama3.1-8b"),
        execution=r.Execution(compute_dtype="bfloat16", remat="full"),
        data=r.PretrainingDataConfig(store="data/c4-llama/train", inputs_length=8192, objective=r.CausalLM()),
        optimizer=r.AdamWConfig(b2=0.95, weight_decay=0.1),
        schedule=r.WarmupCosine(peak=3e-4, warmup_steps=2000, final_fraction=0.1),
        training=r.TrainingConfig(
            total_steps=240_000, batch_size=512, log_every_steps=100, eval_every_steps=5000
        ),
        step=r.StepConfig(max_gradient_norm=1.0),
        loader=r.LoaderConfig(num_workers=8),
        evaluations={
            "heldout": r.EvaluationConfig(store="data/c4-llama/heldout", batch_size=256, max_examples=2048)
        },
        checkpoints=r.CheckpointConfig(save_every_steps=1000, keep_last=3, keep_every_steps=20_000),
    )
