"""Recipe of the end-to-end tests: an encoder-only model of a size that trains in seconds."""

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.data.objectives.masked_lm import MaskedLM
from t5lite.data.pipeline import PretrainingDataConfig
from t5lite.models.config import EncoderOnlyConfig, NormalInitializer
from t5lite.optim import AdamWConfig, Constant
from t5lite.run_config import EvaluationConfig, RunConfig
from t5lite.training.loop import TrainingConfig


def config() -> RunConfig:
    return RunConfig(
        run_dir="runs/tiny-bert",
        model=EncoderOnlyConfig(
            vocab_size=640,
            embed_dim=32,
            mlp_dim=64,
            head_dim=8,
            num_heads=4,
            num_layers=2,
            max_length=48,
            initializer=NormalInitializer(std=0.1),
        ),
        data=PretrainingDataConfig(store="data/train", inputs_length=32, objective=MaskedLM()),
        optimizer=AdamWConfig(),
        schedule=Constant(value=1e-2),
        training=TrainingConfig(total_steps=12, batch_size=8, log_every_steps=1, eval_every_steps=None),
        evaluations={"heldout": EvaluationConfig(store="data/heldout", batch_size=8, max_examples=16)},
        checkpoints=CheckpointConfig(save_every_steps=100, keep_last=1),
    )
