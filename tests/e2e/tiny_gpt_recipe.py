"""Recipe of the end-to-end tests: a decoder-only model of a size that trains in seconds."""

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.data.objectives.causal_lm import CausalLM
from t5lite.data.pipeline import PretrainingDataConfig
from t5lite.models.config import DecoderOnlyConfig, LearnedPositions
from t5lite.optim import AdamWConfig, Constant
from t5lite.run_config import EvaluationConfig, RunConfig
from t5lite.training.loop import TrainingConfig


def config() -> RunConfig:
    return RunConfig(
        run_dir="runs/tiny-gpt",
        model=DecoderOnlyConfig(
            vocab_size=640,
            embed_dim=32,
            mlp_dim=64,
            head_dim=8,
            num_heads=4,
            num_kv_heads=2,
            num_layers=2,
            positions=LearnedPositions(),
            max_length=48,
            tie_embeddings=True,
        ),
        data=PretrainingDataConfig(store="data/train", inputs_length=32, objective=CausalLM()),
        optimizer=AdamWConfig(),
        schedule=Constant(value=1e-2),
        training=TrainingConfig(total_steps=12, batch_size=8, log_every_steps=1, eval_every_steps=None),
        evaluations={"heldout": EvaluationConfig(store="data/heldout", batch_size=8, max_examples=16)},
        checkpoints=CheckpointConfig(save_every_steps=100, keep_last=1),
    )
