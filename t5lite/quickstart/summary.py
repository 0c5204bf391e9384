"""From the stages' records to the results that the report shows."""

from dataclasses import dataclass
from typing import Any

from t5lite.quickstart.recipes import EXTRA_IDS, Recipe
from t5lite.quickstart.results import (
    CurvePoint,
    FileEntry,
    HeldoutPoint,
    MetricRow,
    NgramBaselines,
    Pretraining,
    PretrainingSample,
    QuickstartResults,
    Stage,
    TaskResult,
    TaskSample,
    TextCounts,
)

_TITLES = {
    "translation": "English to Spanish translation",
    "classification": "Which novel is this paragraph from",
}
_DESCRIPTIONS = {
    "translation": "Held-out verses, translated greedily; BLEU and chrF by sacrebleu.",
    "classification": "The model writes the title of one of six novels; an invented title counts as wrong.",
}
FILES = (
    FileEntry(path="report.html", description="this page"),
    FileEntry(path="results.json", description="everything on it, as JSON"),
    FileEntry(path="plots/", description="its figures as PNG"),
    FileEntry(path="data/", description="vocabulary and token stores"),
    FileEntry(
        path="pretrain/", description="the pretraining run: configuration, checkpoints, metrics, TensorBoard"
    ),
    FileEntry(path="finetune/", description="a run for each task and start, of the same form"),
    FileEntry(path="export/", description="the translation model as a Hugging Face folder"),
    FileEntry(path="stages/", description="what each stage found; deleting one runs it again"),
    FileEntry(path="quickstart.json", description="recipe and seed, so that running again resumes this one"),
    FileEntry(path="README.txt", description="this list"),
)


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """The records of one fine-tuning task, from the checkpoint and from scratch."""

    task: str
    num_labels: int | None
    train_examples: int
    pretrained: dict[str, Any]
    scratch: dict[str, Any]
    copied: dict[str, float]
    """Scores of answering with the input."""


def summarise(
    recipe: Recipe,
    *,
    seed: int,
    environment: dict[str, str],
    stages: tuple[Stage, ...],
    vocabulary: dict[str, Any],
    stores: dict[str, Any],
    pretraining: dict[str, Any],
    tasks: list[TaskRecord],
) -> QuickstartResults:
    """Return the results of a quickstart whose stages are all done."""
    whole = [record for record in tasks if record.num_labels is None]
    return QuickstartResults(
        title="t5lite quickstart",
        recipe=recipe.name,
        seed=seed,
        environment=environment,
        stages=stages,
        corpus=tuple(TextCounts(**counts) for counts in stores["texts"]),
        vocabulary_size=vocabulary["size"],
        model=_shape_in_words(recipe),
        num_params=pretraining["num_params"],
        pretraining=_pretraining(recipe, pretraining, stores),
        tasks=tuple(
            _task(record, [other for other in tasks if other.task == record.task]) for record in whole
        ),
        files=FILES,
    )


def _pretraining(recipe: Recipe, record: dict[str, Any], stores: dict[str, Any]) -> Pretraining:
    settings, objective = recipe.pretraining, recipe.pretraining.objective
    return Pretraining(
        train=_curve(record["train"]),
        heldout=tuple(
            HeldoutPoint(
                step=entry["step"],
                loss=entry["loss"],
                text_loss=entry["text_loss"],
                encoder_use=entry["encoder_use"],
            )
            for entry in record["heldout"]
        ),
        ngrams=NgramBaselines(**stores["ngrams"]),
        samples=tuple(PretrainingSample(**sample) for sample in record["filled"]),
        settings={
            "steps": f"{settings.steps:,}",
            "batch": f"{settings.batch_size} x {settings.inputs_length} encoder tokens",
            "noise": f"{objective.noise_density:.0%} in spans of {objective.mean_span_length:g} on average",
            "optimizer": f"Adafactor, relative rate {settings.peak_learning_rate:g}, {settings.warmup_steps} "
            "warm-up steps, linear decay over the last third",
        },
    )


def _task(record: TaskRecord, family: list[TaskRecord]) -> TaskResult:
    """Return one task: its full-data rows, and a row for each smaller number of labels."""
    rows = [row for member in family for row in _rows(member)]
    samples = zip(record.pretrained["samples"], record.scratch["samples"], strict=True)
    return TaskResult(
        name=record.task,
        title=_TITLES[record.task],
        description=_DESCRIPTIONS[record.task],
        rows=tuple(rows),
        steps=record.pretrained["steps"],
        train_examples=record.train_examples,
        pretrained_curve=_heldout_curve(record.pretrained),
        scratch_curve=_heldout_curve(record.scratch),
        samples=tuple(
            TaskSample(
                inputs=pretrained["inputs"],
                target=pretrained["target"],
                pretrained=pretrained["prediction"],
                scratch=scratch["prediction"],
            )
            for pretrained, scratch in samples
        ),
    )


def _rows(record: TaskRecord) -> list[MetricRow]:
    pretrained, scratch = record.pretrained["metrics"], record.scratch["metrics"]
    count = record.pretrained["num_examples"]
    if record.task == "classification":
        return [
            MetricRow(
                metric="accuracy",
                pretrained=100 * pretrained["accuracy"],
                scratch=100 * scratch["accuracy"],
                baseline=100 * pretrained["majority_accuracy"],
                baseline_name="majority class",
                num_examples=count,
                pretrained_error=100 * pretrained["accuracy_error"],
                scratch_error=100 * scratch["accuracy_error"],
                num_labels=record.num_labels,
            )
        ]
    return [
        MetricRow(
            metric=title,
            pretrained=pretrained[name],
            scratch=scratch[name],
            baseline=record.copied[name],
            baseline_name="copying the English",
            num_examples=count,
            pretrained_error=pretrained[f"{name}_error"],
            scratch_error=scratch[f"{name}_error"],
            num_labels=record.num_labels,
        )
        for name, title in (("bleu", "BLEU"), ("chrf", "chrF"))
    ]


def _heldout_curve(record: dict[str, Any]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(step=entry["step"], value=entry["loss"]) for entry in record["heldout"])


def _curve(points: list[dict[str, float]]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(step=int(point["step"]), value=point["value"]) for point in points)


def _shape_in_words(recipe: Recipe) -> dict[str, str]:
    model = recipe.model
    return {
        "architecture": "T5 1.1, float32",
        "layers": f"{model.num_encoder_layers} encoder, {model.num_decoder_layers} decoder",
        "widths": f"embed {model.embed_dim}, mlp {model.mlp_dim}",
        "attention": f"{model.num_heads} heads of {model.head_dim}",
        "sentinels": str(EXTRA_IDS),
    }
