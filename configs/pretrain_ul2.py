"""Pretrain a very small T5 1.1 by UL2's mixture of denoisers on your own text, in minutes on a laptop's CPU.

    t5lite prepare text --inputs my_text/*.txt --output data/mine --vocabulary-size 2048
    t5lite train --config configs/pretrain_ul2.py --data.store data/mine/train \
        --evaluations.heldout.store data/mine/heldout --run-dir runs/ul2
    t5lite generate --run runs/ul2 --text "[S] It is a truth universally acknowledged, that" \
        "[R] And the LORD <extra_id_0> unto Moses"

The model of pretrain_laptop.py with the paper's seven denoisers, drawn equally often. On 8 MB of Jane Austen
and the World English Bible, a third of the steps (--training.total-steps 600 --schedule.decay-steps 200) give
4.11 nats a target token and an encoder use of 0.62; span corruption then has 4.03 and 0.28.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.RunConfig(
        run_dir="runs/ul2",
        model=r.LAPTOP_T5,
        execution=r.Execution(scan_unroll=-1),
        data=r.PretrainingDataConfig(store="data/mine/train", inputs_length=64, objective=r.Ul2()),
        optimizer=r.AdafactorConfig(),
        schedule=r.WarmupStableDecay(peak=0.05, warmup_steps=100, decay_steps=600),
        training=r.TrainingConfig(total_steps=1800, batch_size=32, log_every_steps=20, eval_every_steps=300),
        evaluations={"heldout": r.EvaluationConfig(store="data/mine/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=300, keep_last=1),
    )
