"""Fine-tune a pretrained run on pairs of input and target text, such as a translation corpus.

    t5lite prepare pairs --inputs pairs.tsv --inputs-field 0 --targets-field 1 --output data/pairs \
        --prefix "translate English to Spanish: " --vocabulary runs/pretrain-small/spiece.model
    t5lite train --config configs/finetune_pairs.py --initialize-from.run runs/pretrain-small \
        --data.store data/pairs/train --evaluation.store data/pairs/heldout --run-dir runs/translate
    t5lite evaluate --run runs/translate

The model must have the shape of the pretrained one; keep both recipes' `model` equal. Without
`initialize_from` the same command trains from scratch, which is the comparison to make.
"""

from t5lite.checkpointing.manager import CheckpointConfig
from t5lite.data.pipeline import PairsDataConfig
from t5lite.models.config import EncoderDecoderConfig
from t5lite.optim import AdafactorConfig, WarmupStableDecay
from t5lite.run_config import EvaluationConfig, InitializeFrom, RunConfig
from t5lite.training.loop import TrainingConfig


def config() -> RunConfig:
    """Return the recipe; copy this file and change what you need."""
    return RunConfig(
        run_dir="runs/finetune-pairs",
        model=EncoderDecoderConfig(
            vocab_size=8192,
            embed_dim=384,
            mlp_dim=1024,
            head_dim=64,
            num_heads=6,
            num_encoder_layers=4,
            num_decoder_layers=4,
        ),
        data=PairsDataConfig(store="data/pairs/train", inputs_length=128, targets_length=128, pack=True),
        optimizer=AdafactorConfig(),
        schedule=WarmupStableDecay(peak=0.01, warmup_steps=100, decay_steps=1000),
        training=TrainingConfig(total_steps=3000, batch_size=32, log_every_steps=50, eval_every_steps=500),
        evaluation=EvaluationConfig(store="data/pairs/heldout", batch_size=32, task="translation"),
        checkpoints=CheckpointConfig(save_every_steps=500, keep_last=1),
        initialize_from=InitializeFrom(run="runs/pretrain-small"),
    )
