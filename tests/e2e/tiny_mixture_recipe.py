"""Recipe of the end-to-end tests of mixtures: text under an objective and packed pairs in one batch."""

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.data.pipeline import MixtureDataConfig, MixtureSource, PairsDataConfig, PretrainingDataConfig
from t5lite.models.config import EncoderDecoderConfig
from t5lite.optim import AdafactorConfig, WarmupStableDecay
from t5lite.run_config import EvaluationConfig, RunConfig
from t5lite.training.loop import TrainingConfig


def config() -> RunConfig:
    return RunConfig(
        run_dir="runs/mixture",
        model=EncoderDecoderConfig(
            vocab_size=640,
            embed_dim=16,
            mlp_dim=32,
            head_dim=8,
            num_heads=2,
            num_encoder_layers=1,
            num_decoder_layers=1,
        ),
        data=MixtureDataConfig(
            sources=(
                MixtureSource(
                    name="text", data=PretrainingDataConfig(store="data/text", inputs_length=32), weight=3.0
                ),
                MixtureSource(
                    name="pairs",
                    data=PairsDataConfig(store="data/pairs", inputs_length=24, targets_length=24, pack=True),
                    weight=1.0,
                ),
            )
        ),
        optimizer=AdafactorConfig(),
        schedule=WarmupStableDecay(peak=0.01, warmup_steps=2, decay_steps=2),
        training=TrainingConfig(total_steps=4, batch_size=8, log_every_steps=2, eval_every_steps=4),
        evaluations={
            "heldout": EvaluationConfig(store="data/pairs", source="pairs", batch_size=8, max_examples=16)
        },
        checkpoints=CheckpointConfig(save_every_steps=2),
    )
