"""Recipe of the end-to-end tests of mixtures: text under an objective and packed pairs in one batch."""

from t5lite import recipe as r


def config() -> r.RunConfig:
    return r.RunConfig(
        run_dir="runs/mixture",
        model=r.EncoderDecoderConfig(
            vocab_size=640,
            embed_dim=16,
            mlp_dim=32,
            head_dim=8,
            num_heads=2,
            num_encoder_layers=1,
            num_decoder_layers=1,
        ),
        data=r.MixtureDataConfig(
            sources=(
                r.MixtureSource(
                    name="text", data=r.PretrainingDataConfig(store="data/text", inputs_length=32), weight=3.0
                ),
                r.MixtureSource(
                    name="pairs",
                    data=r.PairsDataConfig(
                        store="data/pairs", inputs_length=24, targets_length=24, pack=True
                    ),
                    weight=1.0,
                ),
            )
        ),
        optimizer=r.AdafactorConfig(),
        schedule=r.WarmupStableDecay(peak=0.01, warmup_steps=2, decay_steps=2),
        training=r.TrainingConfig(total_steps=4, batch_size=8, log_every_steps=2, eval_every_steps=4),
        evaluations={
            "heldout": r.EvaluationConfig(store="data/pairs", source="pairs", batch_size=8, max_examples=16)
        },
        checkpoints=r.CheckpointConfig(save_every_steps=2),
    )
