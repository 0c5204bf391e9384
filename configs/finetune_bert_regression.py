"""Fine-tune a pretrained BERT (encoder-only) to predict a number for a text.

    t5lite prepare task --task regression --inputs reviews.jsonl --heldout-fraction 0.05 \
        --vocabulary data/reviews/vocabulary/spiece.model --output data/scores
    t5lite train --config configs/finetune_bert_regression.py --initialize-from.run runs/bert \
        --data.store data/scores/train --evaluations.heldout.store data/scores/heldout --run-dir runs/scores
    t5lite evaluate --run runs/scores --predictions scores.jsonl

A line of reviews.jsonl is {"text": "a sentence", "label": 1.7}. The model is that of the pretrained run with
another head; the loss is the mean squared error. docs/encoders.md has a run on sentences of reviews.
"""

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.FineTuningConfig(
        run_dir="runs/bert-regressor",
        model=r.Inherited(head="sequence_regression", dropout_rate=0.1),
        execution=r.Execution(scan_unroll=-1),
        data=r.NumbersDataConfig(store="data/scores/train", inputs_length=64),
        optimizer=r.AdamWConfig(b2=0.98, weight_decay=0.01),
        schedule=r.WarmupCosine(peak=5e-4, warmup_steps=40, final_fraction=0.1),
        training=r.TrainingConfig(total_steps=300, batch_size=32, log_every_steps=20, eval_every_steps=100),
        step=r.StepConfig(max_gradient_norm=1.0),
        evaluations={"heldout": r.EvaluationConfig(store="data/scores/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=100, keep_last=1),
        initialize_from=r.InitializeFrom(run="runs/bert"),
    )
