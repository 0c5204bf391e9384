"""LM adaptation: a T5 pretrained by span corruption learns to continue text (Lester et al. 2021).

    t5lite train --config configs/lm_adaptation.py --initialize-from.run runs/laptop \
        --data.store data/mine/train --evaluations.heldout.store data/mine/heldout --run-dir runs/laptop-lm
    t5lite generate --run runs/laptop-lm --text "It is a truth universally acknowledged, that"

It takes the model and the parameters of a run, here of pretrain_laptop.py, and trains on prefix LM for a
fraction of the steps. (The paper adapts T5 1.1 for 100,000 steps: import it, and set lengths and steps.) On
8 MB of Jane Austen and the World English Bible, after 600 steps of pretraining, 300 steps take the held-out
loss from 5.18 to 4.34 nats a token, and prompts are continued where they were answered with sentinels before.
"""

from t5lite import recipe as r


def config() -> r.FineTuningConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.FineTuningConfig(
        run_dir="runs/laptop-lm",
        execution=r.Execution(scan_unroll=-1),
        data=r.PretrainingDataConfig(store="data/mine/train", inputs_length=64, objective=r.PrefixLM()),
        optimizer=r.AdafactorConfig(),
        schedule=r.Constant(value=0.01),
        training=r.TrainingConfig(total_steps=300, batch_size=32, log_every_steps=20, eval_every_steps=100),
        evaluations={"heldout": r.EvaluationConfig(store="data/mine/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=100, keep_last=1),
        initialize_from=r.InitializeFrom(run="runs/laptop"),
    )
