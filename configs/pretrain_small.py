"""Pretrain a small T5 1.1 by span corruption on your own text.

    t5lite prepare text --inputs my_text/*.txt --output data/mine --vocabulary-size 8000
    t5lite train --config configs/pretrain_small.py --data.store data/mine/train \
        --evaluations.heldout.store data/mine/heldout --run-dir runs/pretrain-small

For 10 MB to 1 GB of text on one GPU, or a workstation with patience; 22.8M parameters. Expect held-out loss
below the text's bigram cross-entropy (`t5lite evaluate` prints both) and an encoder use above 0.3 nats: a
run without encoder use has learned a language model of its targets and will not transfer.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe; copy this file and change what you need."""
    return r.RunConfig(
        run_dir="runs/pretrain-small",
        model=r.EncoderDecoderConfig(
            vocab_size=8192,
            embed_dim=384,
            mlp_dim=1024,
            head_dim=64,
            num_heads=6,
            num_encoder_layers=4,
            num_decoder_layers=4,
        ),
        data=r.PretrainingDataConfig(store="data/mine/train", inputs_length=256),
        optimizer=r.AdafactorConfig(),
        schedule=r.WarmupStableDecay(peak=0.03, warmup_steps=300, decay_steps=4000),
        training=r.TrainingConfig(
            total_steps=20_000, batch_size=64, log_every_steps=50, eval_every_steps=1000
        ),
        evaluations={"heldout": r.EvaluationConfig(store="data/mine/heldout")},
        checkpoints=r.CheckpointConfig(save_every_steps=1000, keep_last=2),
    )
