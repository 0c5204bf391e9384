"""Fine-tune a pretrained BERT (encoder-only) to point at the answer to a question in a text, as in SQuAD.

    t5lite prepare task --task answer-spans --inputs questions.jsonl --heldout-fraction 0.05 \
        --vocabulary data/mine/vocabulary/spiece.model --output data/questions
    t5lite train --config configs/finetune_bert_spans.py --initialize-from.run runs/bert \
        --data.store data/questions/train --evaluations.heldout.store data/questions/heldout \
        --run-dir runs/questions
    t5lite evaluate --run runs/questions --predictions answers.jsonl

A line of questions.jsonl is {"question": "Who smiled?", "context": "Emma smiled.", "answers": {"text":
["Emma"], "answer_start": [0]}}; where a context has no answer, both lists are empty. The model is that of the
pretrained run with another head. A context that is longer than a row is read in windows.
"""

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.FineTuningConfig(
        run_dir="runs/bert-spans",
        model=r.Inherited(head="span_extraction", dropout_rate=0.1),
        execution=r.Execution(scan_unroll=-1),
        data=r.SpansDataConfig(store="data/questions/train", inputs_length=96),
        optimizer=r.AdamWConfig(b2=0.98, weight_decay=0.01),
        schedule=r.WarmupCosine(peak=5e-4, warmup_steps=40, final_fraction=0.1),
        training=r.TrainingConfig(total_steps=300, batch_size=32, log_every_steps=20, eval_every_steps=100),
        step=r.StepConfig(max_gradient_norm=1.0),
        evaluations={"heldout": r.EvaluationConfig(store="data/questions/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=100, keep_last=1),
        initialize_from=r.InitializeFrom(run="runs/bert"),
    )
