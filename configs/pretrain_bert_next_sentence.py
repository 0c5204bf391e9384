"""Pretrain a very small BERT as in its paper: masked LM and next sentence, here with whole word masking.

    t5lite prepare text --inputs my_text/*.txt --output data/mine --vocabulary-size 2048
    t5lite train --config configs/pretrain_bert_next_sentence.py --data.store data/mine/train \
        --evaluations.heldout.store data/mine/heldout --run-dir runs/bert-pairs
    t5lite generate --run runs/bert-pairs --text "And the LORD [MASK] unto Moses"

The model of pretrain_bert.py with both of BERT's heads. Next sentence wants documents of many tokens: its Bs
begin within one. On 8 MB of Jane Austen and the World English Bible (a paragraph or verse a document) 600
steps give 5.57 nats a masked token (unigram 6.05) and leave next sentence at chance (accuracy 0.46).
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.RunConfig(
        run_dir="runs/bert-pairs",
        model=r.replace(r.LAPTOP_BERT, head="pretraining"),
        execution=r.Execution(scan_unroll=-1),
        data=r.PretrainingDataConfig(
            store="data/mine/train",
            inputs_length=64,
            objective=r.MaskedLM(mask_probability=0.3, whole_words=True, next_sentence=True),
        ),
        optimizer=r.AdamWConfig(b2=0.98, weight_decay=0.01),
        schedule=r.WarmupCosine(peak=2e-3, warmup_steps=100, final_fraction=0.1),
        training=r.TrainingConfig(total_steps=600, batch_size=32, log_every_steps=20, eval_every_steps=200),
        step=r.StepConfig(max_gradient_norm=1.0),
        evaluations={"heldout": r.EvaluationConfig(store="data/mine/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=200, keep_last=1),
    )
