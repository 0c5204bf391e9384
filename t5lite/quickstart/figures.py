"""Which figures a report has, under which file names, and what they say to those who cannot see them."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from t5lite.pages.figures import Theme
from t5lite.quickstart import findings, plots
from t5lite.quickstart.results import QuickstartResults, TaskResult


@dataclass(frozen=True)
class Plot:
    """A figure in either theme, the file name it is saved under, and its caption."""

    name: str
    draw: Callable[[Theme], Figure]
    caption: str


def pretraining_plots(results: QuickstartResults) -> list[Plot]:
    """Return the figures of the pretraining section."""
    pretraining = results.pretraining
    first = pretraining.heldout[0]
    return [
        Plot(
            "pretraining_loss",
            lambda theme: plots.pretraining_loss(
                pretraining.train, pretraining.heldout, pretraining.ngrams, theme=theme
            ),
            "Loss during pretraining. Pale: training batches. Solid: held-out text, all target tokens. "
            "Dashed: held-out text pieces alone, which compare with the two n-gram lines. "
            f"The first evaluation, {first.loss:.2f} at step {first.step:,}, may lie above the chart.",
        ),
        Plot(
            "encoder_use",
            lambda theme: plots.encoder_use(pretraining.heldout, theme=theme),
            findings.ENCODER_USE,
        ),
    ]


def score_plots(results: QuickstartResults) -> list[Plot]:
    """Return the figure of all scores, if there is any."""
    rows = [
        (f"{row.metric}\n{task.name}", row)
        for task in results.tasks
        for row in task.rows
        if row.num_labels is None
    ]
    if not rows:
        return []
    errors = any(row.pretrained_error is not None for _, row in rows)
    caption = "Scores on held-out examples after the same fine-tuning, pretrained and from scratch"
    caption += ", with one standard error." if errors else "."
    return [Plot("scores", lambda theme: plots.scores(rows, theme=theme), caption)]


def task_plots(task: TaskResult) -> list[Plot]:
    """Return the figures of one task: its curves, and its few-label rows where there are two or more."""
    found = []
    if task.pretrained_curve and task.scratch_curve:
        found.append(
            Plot(
                f"{task.name}_curves",
                lambda theme: plots.task_curves(
                    task.pretrained_curve, task.scratch_curve, label=task.curve_label, theme=theme
                ),
                f"{task.title}: the same data, steps and optimizer, from the pretrained checkpoint and "
                "from fresh parameters.",
            )
        )
    for metric in dict.fromkeys(row.metric for row in task.rows):
        few = [row for row in task.rows if row.metric == metric and row.num_labels is not None]
        if len(few) > 1:
            found.append(
                Plot(
                    f"{task.name}_{metric.lower().replace(' ', '_')}_few_labels",
                    lambda theme, few=few: plots.few_labels(few, theme=theme),
                    f"{task.title}: {metric} against the number of labelled training examples.",
                )
            )
    return found


def all_plots(results: QuickstartResults) -> list[Plot]:
    """Return every figure, in the order of the page."""
    return (
        score_plots(results)
        + pretraining_plots(results)
        + [plot for task in results.tasks for plot in task_plots(task)]
    )
