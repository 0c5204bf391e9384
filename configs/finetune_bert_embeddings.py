"""Fine-tune a pretrained BERT (encoder-only) to make vectors of texts, alike where texts belong together.

    t5lite prepare task --task triplets --inputs triplets.jsonl --heldout-fraction 0.05 \
        --vocabulary data/text/vocabulary/spiece.model --output data/triplets
    t5lite train --config configs/finetune_bert_embeddings.py --initialize-from.run runs/bert \
        --data.store data/triplets/train --evaluations.heldout.store data/triplets/heldout \
        --run-dir runs/embeddings
    t5lite evaluate --run runs/embeddings
    t5lite embed --run runs/embeddings --input-file sentences.txt --output-file sentences.npy

A line of triplets.jsonl is {"anchor": "a text", "positive": "what belongs to it", "negative": "what does not,
but is like it"}; pairs alone are prepared by `t5lite prepare pairs`, with --data.no-hard-negatives. The model
is that of the pretrained run with another head; the negatives of a pair are all other texts of the batch.
docs/embeddings.md says more.
"""

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.FineTuningConfig(
        run_dir="runs/bert-embeddings",
        model=r.Inherited(
            head="sentence_embedding",
            embedding=r.SentenceEmbedding(pooling="mean", temperature=0.05),
            dropout_rate=0.1,
        ),
        execution=r.Execution(scan_unroll=-1),
        data=r.TextPairsDataConfig(store="data/triplets/train", inputs_length=32, hard_negatives=True),
        optimizer=r.AdamWConfig(b2=0.98, weight_decay=0.01),
        schedule=r.WarmupCosine(peak=5e-4, warmup_steps=40, final_fraction=0.1),
        training=r.TrainingConfig(total_steps=400, batch_size=64, log_every_steps=20, eval_every_steps=200),
        step=r.StepConfig(max_gradient_norm=1.0),
        evaluations={"heldout": r.EvaluationConfig(store="data/triplets/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=200, keep_last=1),
        initialize_from=r.InitializeFrom(run="runs/bert"),
    )
