"""Fine-tune a pretrained run for a task (`t5lite tasks` lists them): what it reads, writes and is scored by.

    t5lite prepare task --task sentiment --inputs reviews.csv --heldout-fraction 0.1 --output data/task \
        --vocabulary runs/laptop/spiece.model
    t5lite train --config configs/finetune_task.py --task sentiment --initialize-from.run runs/laptop \
        --run-dir runs/sentiment
    t5lite evaluate --run runs/sentiment

reviews.csv has the columns `text` and `label`. `--task` sets the lengths and how held-out text is scored;
`--task data/task/task.json` does so by the task as it was prepared, which may be one of your own.

The model is that of the pretrained run; from scratch, in its shape: `--initialize-from None --model RUN`.
"""

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.FineTuningConfig(
        run_dir="runs/task",
        model=r.Inherited(dropout_rate=0.0),  # the pretraining's hurts so short a fine-tuning
        execution=r.Execution(scan_unroll=-1),
        data=r.PairsDataConfig(store="data/task/train"),
        optimizer=r.AdafactorConfig(),
        schedule=r.WarmupStableDecay(peak=0.02, warmup_steps=20, decay_steps=200),
        training=r.TrainingConfig(total_steps=400, batch_size=32, log_every_steps=20, eval_every_steps=100),
        evaluations={"heldout": r.EvaluationConfig(store="data/task/heldout", batch_size=32)},
        checkpoints=r.CheckpointConfig(save_every_steps=200, keep_last=1),
        initialize_from=r.InitializeFrom(run="runs/laptop"),
    )
