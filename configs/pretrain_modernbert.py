"""Pretrain a very small ModernBERT on your own text as the large ones are: packed rows, masking by phase.

    t5lite prepare text --inputs novels.jsonl --output data/mine --vocabulary-size 2048
    t5lite inspect-data --config configs/pretrain_modernbert.py --data.store data/mine/train
    t5lite train --config configs/pretrain_modernbert.py --data.store data/mine/train \
        --evaluations.heldout.store data/mine/heldout --run-dir runs/modernbert
    t5lite generate --run runs/modernbert --text "She was [MASK] to be the sister of Mr. Darcy."

modernbert-base with small sizes. A row is several paragraphs that do not see each other; of the tokens 30 %
are asked for, in the last fifth of the steps 15 %, at which evaluations measure (mmBERT goes on to 5 %). On
1M tokens of Jane Austen (a paragraph a document) the held-out loss after 300 steps, a minute or two, is 5.10
nats a masked token against the unigram's 6.08 (`t5lite evaluate` prints both).
"""

from t5lite.recipe import (
    AdamWConfig,
    AttentionConfig,
    CheckpointConfig,
    EvaluationConfig,
    Execution,
    MaskedLM,
    PretrainingDataConfig,
    RunConfig,
    StepConfig,
    TrainingConfig,
    WarmupStableDecay,
    preset,
    replace,
)

STEPS, BATCH_SIZE = 300, 32


def config() -> RunConfig:
    """Return the recipe; copy this file and change what you need."""
    return RunConfig(
        run_dir="runs/modernbert",
        model=replace(
            preset("modernbert-base"),
            vocab_size=2176,
            embed_dim=128,
            mlp_dim=192,
            num_heads=2,
            num_layers=4,
            max_length=128,
            attention=AttentionConfig(scaled=True, windows=(None, 16, 16)),
            head="masked_lm",
        ),
        execution=Execution(scan_unroll=-1),
        data=PretrainingDataConfig(
            store="data/mine/train",
            inputs_length=64,
            objective=MaskedLM(
                pack=True,
                mask_probability=0.3,
                later_mask_probabilities=((STEPS * BATCH_SIZE * 4 // 5, 0.15),),
                heldout_mask_probability=0.15,
            ),
        ),
        optimizer=AdamWConfig(b2=0.98, weight_decay=1e-5),
        schedule=WarmupStableDecay(peak=2e-3, warmup_steps=30, decay_steps=60),
        training=TrainingConfig(
            total_steps=STEPS, batch_size=BATCH_SIZE, log_every_steps=20, eval_every_steps=100
        ),
        step=StepConfig(max_gradient_norm=1.0),
        evaluations={"heldout": EvaluationConfig(store="data/mine/heldout", batch_size=64)},
        checkpoints=CheckpointConfig(save_every_steps=100, keep_last=1),
    )
