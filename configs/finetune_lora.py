"""Fine-tune a pretrained run on pairs of texts by LoRA: the model stays as it is, checkpoints are megabytes.

    t5lite prepare pairs --inputs pairs.tsv --inputs-field 0 --targets-field 1 --output data/pairs \
        --prefix "translate English to Spanish: " --vocabulary runs/laptop/spiece.model
    t5lite train --config configs/finetune_lora.py --initialize-from.run runs/laptop \
        --data.store data/pairs/train --evaluations.heldout.store data/pairs/heldout --run-dir runs/lora
    t5lite export --run runs/lora --output translator

What is exported is an ordinary model, with the adapter worked into it (docs/adapters.md).
"""

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.FineTuningConfig(
        run_dir="runs/finetune-lora",
        execution=r.Execution(scan_unroll=-1),
        data=r.PairsDataConfig(store="data/pairs/train", inputs_length=128, targets_length=128, pack=True),
        adapter=r.LoRA(rank=16, alpha=32.0, dropout=0.05, targets=("*attention", "*/mlp")),
        optimizer=r.AdamWConfig(weight_decay=0.0),
        schedule=r.WarmupStableDecay(peak=1e-3, warmup_steps=20, decay_steps=200),
        training=r.TrainingConfig(total_steps=400, batch_size=32, log_every_steps=20, eval_every_steps=100),
        evaluations={
            "heldout": r.EvaluationConfig(
                store="data/pairs/heldout", batch_size=32, max_examples=256, task="translation"
            )
        },
        checkpoints=r.CheckpointConfig(save_every_steps=200, keep_last=1),
        initialize_from=r.InitializeFrom(run="runs/laptop"),
    )
