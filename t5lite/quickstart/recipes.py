"""The quickstart's two recipes: what is trained, for how long, and what it is compared with.

A recipe is a value; ``pretraining`` and ``finetuning`` turn it into the RunConfig of a stage, the same
kind of value that ``t5lite train --config`` runs.
"""

from dataclasses import dataclass, replace
from typing import Literal

from t5lite.core.storage.addresses import StoragePath
from t5lite.data.pipeline import DataConfig
from t5lite.recipe import (
    LAPTOP_T5,
    AdafactorConfig,
    CheckpointConfig,
    EncoderDecoderConfig,
    EvaluationConfig,
    Execution,
    InitializeFrom,
    PairsDataConfig,
    PretrainingDataConfig,
    RunConfig,
    SpanCorruption,
    TrainingConfig,
    WarmupStableDecay,
)

EXTRA_IDS = 100
Task = Literal["translation", "classification"]


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Span corruption on the whole corpus."""

    steps: int
    batch_size: int
    inputs_length: int
    peak_learning_rate: float
    """Relative to the size of each parameter, as Adafactor takes it."""
    warmup_steps: int
    dropout_rate: float
    objective: SpanCorruption


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """One task, trained once from the pretrained checkpoint and once from scratch."""

    steps: int
    batch_size: int
    inputs_length: int
    targets_length: int
    peak_learning_rate: float
    warmup_steps: int
    dropout_rate: float
    heldout_examples: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All the choices of one quickstart."""

    name: str
    duration: str
    """What it takes on two CPU cores, in words."""
    model: EncoderDecoderConfig
    pretraining: Pretraining
    tasks: dict[Task, FineTuning]
    label_counts: tuple[int, ...] = ()
    """Also fine-tune the classifier on the first so many labelled paragraphs."""

    @property
    def vocabulary_size(self) -> int:
        """Pieces of the vocabulary; the sentinels come after them."""
        return self.model.vocab_size - EXTRA_IDS

    def pretraining_config(self, directory: StoragePath, *, seed: int) -> RunConfig:
        """Return the pretraining run under ``directory``."""
        data = directory / "data" / "pretrain"
        return self._run(
            self.pretraining,
            run_dir=directory / "pretrain",
            data=PretrainingDataConfig(
                store=str(data / "train"),
                inputs_length=self.pretraining.inputs_length,
                objective=self.pretraining.objective,
            ),
            evaluation=EvaluationConfig(store=str(data / "heldout"), batch_size=64, max_examples=1024),
            num_evaluations=4,
            seed=seed,
        )

    def finetuning_config(
        self,
        directory: StoragePath,
        task: Task,
        *,
        pretrained: bool,
        num_labels: int | None = None,
        seed: int,
    ) -> RunConfig:
        """Return the fine-tuning run of ``task`` under ``directory``.

        Args:
          directory: of the quickstart.
          task: key of ``tasks``.
          pretrained: start from the pretrained checkpoint, or from scratch with the same everything else.
          num_labels: train on the first so many examples; None for all.
          seed: of the run.
        """
        settings = self.tasks[task]
        labels = "" if num_labels is None else f"-{num_labels}-labels"
        data = directory / "data" / task
        config = self._run(
            settings,
            run_dir=directory / "finetune" / f"{task}{labels}-{'pretrained' if pretrained else 'scratch'}",
            data=PairsDataConfig(
                store=str(data / f"train{labels}"),
                inputs_length=settings.inputs_length,
                targets_length=settings.targets_length,
            ),
            evaluation=EvaluationConfig(
                store=str(data / "heldout"),
                batch_size=64,
                max_examples=settings.heldout_examples,
                encoder_use=False,  # a second pass over the examples, and the report has it of pretraining
                task=task,
            ),
            num_evaluations=1,
            seed=seed,
        )
        if not pretrained:
            return config
        return replace(config, initialize_from=InitializeFrom(run=str(directory / "pretrain")))

    def _run(
        self,
        settings: Pretraining | FineTuning,
        *,
        run_dir: StoragePath,
        data: DataConfig,
        evaluation: EvaluationConfig,
        num_evaluations: int,
        seed: int,
    ) -> RunConfig:
        every = settings.steps // num_evaluations
        return RunConfig(
            run_dir=str(run_dir),
            model=replace(self.model, dropout_rate=settings.dropout_rate),
            execution=Execution(scan_unroll=-1),  # faster than a loop on CPU, at this depth
            data=data,
            optimizer=AdafactorConfig(),
            schedule=WarmupStableDecay(
                peak=settings.peak_learning_rate,
                warmup_steps=settings.warmup_steps,
                decay_steps=settings.steps // 3,
            ),
            training=TrainingConfig(
                total_steps=settings.steps,
                batch_size=settings.batch_size,
                log_every_steps=20,
                eval_every_steps=every,
            ),
            evaluations={"heldout": evaluation},
            checkpoints=CheckpointConfig(save_every_steps=every, keep_last=1),
            seed=seed,
        )


_DENSE_NOISE = SpanCorruption(noise_density=0.3, mean_span_length=3.0)
"""Twice T5's noise: more targets for each encoder pass, and a decoder that needs its encoder sooner."""

SIX_MINUTES = Recipe(
    name="six-minutes",
    duration="about 6 minutes",
    model=replace(LAPTOP_T5, vocab_size=2048 + EXTRA_IDS),
    pretraining=Pretraining(
        steps=2000,
        batch_size=32,
        inputs_length=64,
        peak_learning_rate=0.05,
        warmup_steps=100,
        dropout_rate=0.05,
        objective=_DENSE_NOISE,
    ),
    tasks={
        "translation": FineTuning(
            steps=250,
            batch_size=32,
            inputs_length=64,
            targets_length=64,
            peak_learning_rate=0.02,
            warmup_steps=20,
            dropout_rate=0.0,
            heldout_examples=256,
        ),
        "classification": FineTuning(
            steps=200,
            batch_size=32,
            inputs_length=128,
            targets_length=16,
            peak_learning_rate=0.02,
            warmup_steps=20,
            dropout_rate=0.0,
            heldout_examples=600,
        ),
    },
)

ONE_HOUR = Recipe(
    name="one-hour",
    duration="about an hour",
    model=replace(
        LAPTOP_T5,
        vocab_size=4096 + EXTRA_IDS,
        embed_dim=256,
        mlp_dim=512,
        num_heads=4,
        num_encoder_layers=3,
        num_decoder_layers=3,
    ),
    pretraining=Pretraining(
        steps=2600,
        batch_size=48,
        inputs_length=96,
        peak_learning_rate=0.04,
        warmup_steps=200,
        dropout_rate=0.0,
        objective=_DENSE_NOISE,
    ),
    tasks={
        "translation": replace(
            SIX_MINUTES.tasks["translation"], steps=500, warmup_steps=50, heldout_examples=512
        ),
        "classification": replace(SIX_MINUTES.tasks["classification"], steps=150),
    },
    label_counts=(50, 200, 1000),
)

RECIPES = {recipe.name: recipe for recipe in (SIX_MINUTES, ONE_HOUR)}
