"""BERT base, uncased: masked LM and next sentence, a million steps of 256 rows.

    t5lite prepare text --inputs wikipedia/*.jsonl books/*.jsonl --output data/books-wikipedia \
        --vocabulary bert-base-uncased
    t5lite compile --config configs/reproductions/bert_base.py --topology v5e:4x4
    t5lite train --config configs/reproductions/bert_base.py --data.store gs-or-local/books-wikipedia/train

Source: Devlin et al. 2019, appendix A.2; optimization.py and README.md of google-research/bert. Rows are of
128 tokens for 900,000 steps and of 512 for the last 100,000. These go on from a checkpoint that is kept, in a
run of their own; the first one may be stopped there:

    t5lite train --config configs/reproductions/bert_base.py --data.store gs-or-local/books-wikipedia/train \
        --run-dir runs/bert-base-512 --continue-from.run runs/bert-base --continue-from.step 900000 \
        --data.inputs-length 512 --allow-change data.inputs_length

Rate 1e-4 after 10,000 steps, then linearly to 0; weight decay 0.01, clipping at 1, dropout 0.1, GELU; 15 %
asked for, of which 80 % masked and 10 % random. Held to: 110M parameters (110,106,428 with both heads),
GLUE's average of 79.6 after fine-tuning and SQuAD 1.1 dev F1 88.5 (tables 1 and 2, not looked up again). The
repository's losses are of its 20 sample lines.

Not as published: Adam corrects its moments' bias; noise is drawn anew each epoch; B begins within a document;
dropout is in T5X's places. BookCorpus is not to be had; 40 epochs of 3.3 billion words are the paper's.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/bert-base",
        model=r.replace(r.preset("bert-base"), dropout_rate=0.1),
        execution=r.Execution(compute_dtype="bfloat16", remat="gathered"),
        data=r.PretrainingDataConfig(
            store="data/books-wikipedia/train", inputs_length=128, objective=r.MaskedLM(next_sentence=True)
        ),
        optimizer=r.AdamWConfig(eps=1e-6, weight_decay=0.01),
        schedule=r.WarmupStableDecay(peak=1e-4, warmup_steps=10_000, decay_steps=990_000),
        training=r.TrainingConfig(
            total_steps=1_000_000, batch_size=256, log_every_steps=100, eval_every_steps=10_000
        ),
        step=r.StepConfig(z_loss=0.0, max_gradient_norm=1.0),
        loader=r.LoaderConfig(num_workers=8),
        evaluations={"heldout": r.EvaluationConfig(store="data/books-wikipedia/heldout", batch_size=256)},
        checkpoints=r.CheckpointConfig(save_every_steps=5000, keep_last=3, keep_every_steps=100_000),
    )
