"""Recipe of the end-to-end tests: every part of a real one, at a size that trains in seconds."""

from t5lite import recipe as r


def config() -> r.RunConfig:
    return r.RunConfig(
        run_dir="runs/tiny",
        model=r.EncoderDecoderConfig(
            vocab_size=640,
            embed_dim=32,
            mlp_dim=64,
            head_dim=16,
            num_heads=2,
            num_encoder_layers=2,
            num_decoder_layers=2,
            dropout_rate=0.1,
        ),
        data=r.PretrainingDataConfig(store="data/train", inputs_length=32),
        optimizer=r.AdafactorConfig(),
        schedule=r.WarmupStableDecay(peak=0.05, warmup_steps=5, decay_steps=10),
        training=r.TrainingConfig(total_steps=40, batch_size=8, log_every_steps=1, eval_every_steps=20),
        evaluations={"heldout": r.EvaluationConfig(store="data/heldout", batch_size=8, max_examples=32)},
        checkpoints=r.CheckpointConfig(save_every_steps=10, keep_last=2),
    )
