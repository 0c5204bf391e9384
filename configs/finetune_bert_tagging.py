"""Fine-tune a pretrained BERT (encoder-only) to tag words, such as those of named entities.

    t5lite prepare task --task ner-tags --inputs names.jsonl --heldout-fraction 0.05 \
        --vocabulary data/mine/vocabulary/spiece.model --output data/names
    t5lite train --config configs/finetune_bert_tagging.py --initialize-from.run runs/bert \
        --data.store data/names/train --evaluations.heldout.store data/names/heldout --run-dir runs/names
    t5lite evaluate --run runs/names --predictions names-heldout.jsonl

A line of names.jsonl is {"tokens": ["Emma", "smiled"], "ner_tags": ["B-PER", "O"]}. The model is that of the
pretrained run with another head; num_labels is the number of tags at least.
"""

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.FineTuningConfig(
        run_dir="runs/bert-tagger",
        model=r.Inherited(head="token_classification", num_labels=9, dropout_rate=0.1),
        execution=r.Execution(scan_unroll=-1),
        data=r.WordLabelsDataConfig(store="data/names/train", inputs_length=64),
        optimizer=r.AdamWConfig(b2=0.98, weight_decay=0.01),
        schedule=r.WarmupCosine(peak=5e-4, warmup_steps=40, final_fraction=0.1),
        training=r.TrainingConfig(total_steps=300, batch_size=32, log_every_steps=20, eval_every_steps=100),
        step=r.StepConfig(max_gradient_norm=1.0),
        evaluations={"heldout": r.EvaluationConfig(store="data/names/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=100, keep_last=1),
        initialize_from=r.InitializeFrom(run="runs/bert"),
    )
