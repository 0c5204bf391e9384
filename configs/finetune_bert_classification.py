"""Fine-tune a pretrained BERT (encoder-only) to tell classes of text apart.

    t5lite prepare pairs --inputs novels.jsonl --heldout-fraction 0.05 \
        --vocabulary data/mine/vocabulary/spiece.model --output data/novels
    t5lite train --config configs/finetune_bert_classification.py --initialize-from.run runs/bert \
        --data.store data/novels/train --evaluations.heldout.store data/novels/heldout --run-dir runs/novel
    t5lite evaluate --run runs/novel
    t5lite generate --run runs/novel --text "Mr. Knightley smiled, and Harriet looked at Emma."

A line of novels.jsonl is {"inputs": "a paragraph", "targets": "its class"}. The model is that of
the pretrained run with another head; num_labels is the number of classes at least.

Which of Jane Austen's six novels is a paragraph from? With 7,466 labels, from the 600 steps of
configs/pretrain_bert.py, it is right on 69.5 % (standard error 2.3) of 397 held-out paragraphs, of which it
reads the first 62 tokens; the commonest novel has 22.9 %. (The pretraining had read these paragraphs, without
labels.) The comparison to make is from scratch: `--initialize-from None --model runs/bert`.
"""

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.FineTuningConfig(
        run_dir="runs/bert-classifier",
        model=r.Inherited(head="sequence_classification", num_labels=6, dropout_rate=0.1),
        execution=r.Execution(scan_unroll=-1),
        data=r.PairsDataConfig(store="data/novels/train", inputs_length=64),
        optimizer=r.AdamWConfig(b2=0.98, weight_decay=0.01),
        schedule=r.WarmupCosine(peak=5e-4, warmup_steps=40, final_fraction=0.1),
        training=r.TrainingConfig(total_steps=300, batch_size=32, log_every_steps=20, eval_every_steps=100),
        step=r.StepConfig(max_gradient_norm=1.0),
        evaluations={"heldout": r.EvaluationConfig(store="data/novels/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=100, keep_last=1),
        initialize_from=r.InitializeFrom(run="runs/bert"),
    )
