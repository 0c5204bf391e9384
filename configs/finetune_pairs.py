"""Fine-tune a pretrained run on pairs of input and target text, such as a translation corpus.

    t5lite prepare pairs --inputs pairs.tsv --inputs-field 0 --targets-field 1 --output data/pairs \
        --prefix "translate English to Spanish: " --vocabulary runs/laptop/spiece.model
    t5lite train --config configs/finetune_pairs.py --initialize-from.run runs/laptop \
        --data.store data/pairs/train --evaluations.heldout.store data/pairs/heldout --run-dir runs/translate
    t5lite evaluate --run runs/translate

The model is that of the pretrained run, whichever it is, such as the quickstart's
(t5lite-quickstart/pretrain). In the shape of that run it trains from scratch with
`--initialize-from None --model RUN`, which is the comparison to make.
"""

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.FineTuningConfig(
        run_dir="runs/finetune-pairs",
        model=r.Inherited(dropout_rate=0.0),  # the pretraining's hurts so short a fine-tuning
        execution=r.Execution(scan_unroll=-1),
        data=r.PairsDataConfig(store="data/pairs/train", inputs_length=128, targets_length=128, pack=True),
        optimizer=r.AdafactorConfig(),
        schedule=r.WarmupStableDecay(peak=0.02, warmup_steps=20, decay_steps=200),
        training=r.TrainingConfig(total_steps=400, batch_size=32, log_every_steps=20, eval_every_steps=100),
        evaluations={
            "heldout": r.EvaluationConfig(
                store="data/pairs/heldout", batch_size=32, max_examples=256, task="translation"
            )
        },
        checkpoints=r.CheckpointConfig(save_every_steps=200, keep_last=1),
        initialize_from=r.InitializeFrom(run="runs/laptop"),
    )
