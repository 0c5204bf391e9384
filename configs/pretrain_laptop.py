"""Pretrain a very small T5 1.1 by span corruption on your own text, in minutes on a laptop's CPU.

    t5lite prepare text --inputs my_text/*.txt --output data/mine --vocabulary-size 2048
    t5lite train --config configs/pretrain_laptop.py --data.store data/mine/train \
        --evaluations.heldout.store data/mine/heldout --run-dir runs/laptop

The quickstart's shape and settings: 1.3M parameters, about 3 minutes on two cores, for 1 to 100 MB of text.
Watch the encoder use of the held-out evaluations: the quickstart reaches 1.8 nats. While it is low the run
is a language model of its targets, and fine-tuning it may be worse than training from scratch
(docs/fine_tuning.md). So may what was pretrained without dropout. For more text and a GPU, see
pretrain_small.py.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.RunConfig(
        run_dir="runs/laptop",
        model=r.replace(r.LAPTOP_T5, dropout_rate=0.05),
        execution=r.Execution(scan_unroll=-1),
        data=r.PretrainingDataConfig(
            store="data/mine/train", inputs_length=64, objective=r.SpanCorruption(noise_density=0.3)
        ),
        optimizer=r.AdafactorConfig(),
        schedule=r.WarmupStableDecay(peak=0.05, warmup_steps=100, decay_steps=666),
        training=r.TrainingConfig(total_steps=2000, batch_size=32, log_every_steps=20, eval_every_steps=500),
        evaluations={"heldout": r.EvaluationConfig(store="data/mine/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=500, keep_last=1),
    )
