"""Recipe of the end-to-end tests: a decoder-only model of a size that trains in seconds."""

from t5lite import recipe as r


def config() -> r.RunConfig:
    return r.RunConfig(
        run_dir="runs/tiny-gpt",
        model=r.DecoderOnlyConfig(
            vocab_size=640,
            embed_dim=32,
            mlp_dim=64,
            head_dim=8,
            num_heads=4,
            num_kv_heads=2,
            num_layers=2,
            positions=r.LearnedPositions(),
            max_length=48,
            tie_embeddings=True,
        ),
        data=r.PretrainingDataConfig(store="data/train", inputs_length=32, objective=r.CausalLM()),
        optimizer=r.AdamWConfig(),
        schedule=r.Constant(value=1e-2),
        training=r.TrainingConfig(total_steps=12, batch_size=8, log_every_steps=1, eval_every_steps=None),
        evaluations={"heldout": r.EvaluationConfig(store="data/heldout", batch_size=8, max_examples=16)},
        checkpoints=r.CheckpointConfig(save_every_steps=100, keep_last=1),
    )
