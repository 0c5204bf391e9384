"""Recipe of the end-to-end tests: an encoder-only model of a size that trains in seconds."""

from t5lite import recipe as r


def config() -> r.RunConfig:
    return r.RunConfig(
        run_dir="runs/tiny-bert",
        model=r.EncoderOnlyConfig(
            vocab_size=640,
            embed_dim=32,
            mlp_dim=64,
            head_dim=8,
            num_heads=4,
            num_layers=2,
            max_length=48,
            initializer=r.NormalInitializer(std=0.1),
        ),
        data=r.PretrainingDataConfig(store="data/train", inputs_length=32, objective=r.MaskedLM()),
        optimizer=r.AdamWConfig(),
        schedule=r.Constant(value=1e-2),
        training=r.TrainingConfig(total_steps=12, batch_size=8, log_every_steps=1, eval_every_steps=None),
        evaluations={"heldout": r.EvaluationConfig(store="data/heldout", batch_size=8, max_examples=16)},
        checkpoints=r.CheckpointConfig(save_every_steps=100, keep_last=1),
    )
