"""What a quickstart run found, as plain dataclasses, and their JSON.

``results.json`` holds everything the report shows, so a report can be made again without the run.
Losses are in nats per target token; scores (accuracy, BLEU, chrF) run from 0 to 100.
"""

import math
from dataclasses import dataclass, field

import cattrs

from t5lite.core.errors import DataError
from t5lite.core.files import write_json
from t5lite.core.json_text import parse_json
from t5lite.core.storage.addresses import StoragePath, no_bucket

_FORMAT = "t5lite quickstart results 1"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the run; ``note`` says what came out of it ("2,048 pieces")."""

    name: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TextCounts:
    """How much of one text stands on each side of the held-out split."""

    name: str
    train_documents: int
    heldout_documents: int
    train_tokens: int | None = None
    heldout_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A value after ``step`` optimizer steps."""

    step: int
    value: float


@dataclass(frozen=True, kw_only=True)
class HeldoutPoint:
    """An evaluation on held-out text after ``step`` steps; step 0 is the untrained model.

    Attributes:
      step: optimizer steps taken.
      loss: over all target tokens, sentinels and end-of-sequence included.
      text_loss: over text pieces alone, which is what n-gram baselines compare with.
      encoder_use: rise of the loss when encoder inputs are swapped between examples.
    """

    step: int
    loss: float
    text_loss: float
    encoder_use: float

    @property
    def perplexity(self) -> float:
        """``exp(loss)``, infinite where that overflows."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


@dataclass(frozen=True, kw_only=True)
class NgramBaselines:
    """Cross-entropy of the held-out text under counts of the training text, nats per token."""

    unigram: float
    bigram: float


@dataclass(frozen=True, kw_only=True)
class PretrainingSample:
    """One held-out example as token text, sentinels rendered ``<extra_id_0>``."""

    inputs: str
    target: str
    output: str


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The pretraining run: curves, baselines, samples and its settings in words."""

    train: tuple[CurvePoint, ...]
    heldout: tuple[HeldoutPoint, ...]
    ngrams: NgramBaselines
    samples: tuple[PretrainingSample, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse results without an evaluation: the report could not say whether anything was learned."""
        if not self.heldout:
            raise DataError("pretraining results need at least one held-out evaluation")

    def milestones(self, count: int = 5) -> list[HeldoutPoint]:
        """Return before, during and after: first, last, and evenly spaced evaluations between."""
        last = len(self.heldout) - 1
        if last < count:
            return list(self.heldout)
        return [self.heldout[round(i * last / (count - 1))] for i in range(count)]


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One score, from the pretrained checkpoint and from scratch, same data and steps.

    Attributes:
      metric: "accuracy", "BLEU", "chrF"; higher is better and 100 is perfect.
      pretrained: score after fine-tuning the pretrained parameters.
      scratch: score after the same fine-tuning of fresh parameters.
      baseline: score without a model (the majority class, copying the source).
      baseline_name: what that baseline is.
      num_examples: held-out examples scored.
      pretrained_error: standard error of ``pretrained``.
      scratch_error: standard error of ``scratch``.
      num_labels: labelled training examples of a few-label experiment; None for all of them.
    """

    metric: str
    pretrained: float
    scratch: float
    baseline: float | None = None
    baseline_name: str = "baseline"
    num_examples: int | None = None
    pretrained_error: float | None = None
    scratch_error: float | None = None
    num_labels: int | None = None

    @property
    def difference(self) -> float:
        """Pretrained minus scratch."""
        return self.pretrained - self.scratch

    @property
    def difference_error(self) -> float | None:
        """Standard error of the difference, as if both were measured on different examples.

        They are measured on the same ones, so this errs on the careful side.
        """
        if self.pretrained_error is None or self.scratch_error is None:
            return None
        return math.hypot(self.pretrained_error, self.scratch_error)

    @property
    def label(self) -> str:
        """The metric, and how many labels it was trained on if not all."""
        return self.metric if self.num_labels is None else f"{self.metric}, {self.num_labels:,} labels"


@dataclass(frozen=True, kw_only=True)
class TaskSample:
    """One held-out example with what both fine-tuned models wrote."""

    inputs: str
    target: str
    pretrained: str
    scratch: str


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One fine-tuning task. ``name`` goes into file names, ``title`` is for readers."""

    name: str
    title: str
    rows: tuple[MetricRow, ...]
    description: str = ""
    steps: int | None = None
    train_examples: int | None = None
    pretrained_curve: tuple[CurvePoint, ...] = ()
    scratch_curve: tuple[CurvePoint, ...] = ()
    curve_label: str = "held-out loss (nats per target token)"
    samples: tuple[TaskSample, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file or directory of the run directory and what it is for."""

    path: str
    description: str


@dataclass(frozen=True, kw_only=True)
class QuickstartResults:
    """Everything the report shows.

    Attributes:
      title: headline of the report.
      recipe: name of the recipe and the command that ran it.
      seed: seed of initialisation, shuffling and noise.
      environment: processor, memory, versions, peak memory: name to value.
      stages: in the order they ran.
      corpus: one entry for each text.
      vocabulary_size: pieces plus sentinels.
      model: shape in words: name to value.
      num_params: parameters of the model.
      pretraining: curves, baselines, samples.
      tasks: fine-tuning, pretrained beside scratch.
      files: guide to the run directory.
    """

    title: str
    recipe: str
    seed: int
    environment: dict[str, str]
    stages: tuple[Stage, ...]
    corpus: tuple[TextCounts, ...]
    vocabulary_size: int
    model: dict[str, str]
    num_params: int
    pretraining: Pretraining
    tasks: tuple[TaskResult, ...]
    files: tuple[FileEntry, ...] = ()


RESULTS_FILE = "results.json"
"""Name in the directory of a quickstart."""


def save_results(results: QuickstartResults, path: StoragePath) -> None:
    """Write ``results`` as JSON, atomically."""
    write_json(path, {"format": _FORMAT, "results": cattrs.unstructure(results)})


def load_results(path: StoragePath) -> QuickstartResults:
    """Read what ``save_results`` wrote.

    Raises:
      DataError: if the file is missing, is not JSON, or does not hold quickstart results.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"cannot read {path} ({reason}){no_bucket(path)}; run t5lite quickstart to write it"
        ) from error
    known = isinstance(content, dict) and content.get("format") == _FORMAT
    if not known or not isinstance(content.get("results"), dict):
        raise DataError(f"{path} does not hold {_FORMAT!r}; make it again with t5lite quickstart")
    converter = cattrs.Converter(forbid_extra_keys=True)
    try:
        return converter.structure(content["results"], QuickstartResults)
    except (cattrs.BaseValidationError, DataError) as error:
        causes = (
            "; ".join(cattrs.transform_error(error))
            if isinstance(error, cattrs.BaseValidationError)
            else str(error)
        )
        raise DataError(f"{path} is damaged: {causes}; make it again with t5lite quickstart") from error
