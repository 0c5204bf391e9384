"""A report's folder: ``report.html``, its figures as PNG, and the tables as CSV; whole, or not there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from t5lite.core.files import new_directory, write_bytes, write_text
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.pages.figures import png
from t5lite.pages.themed_svg import plain_text, themed_svg
from t5lite.scaling.analysis import Settings
from t5lite.scaling.methods import METHODS
from t5lite.scaling.report import fit_figures
from t5lite.scaling.report.curve_figures import PROGRESS, Progress, curves
from t5lite.scaling.report.families import Family, families
from t5lite.scaling.report.page import Content, Shown, page
from t5lite.scaling.report.predictions import Prediction, WrittenDown, held_out, with_outcomes
from t5lite.scaling.report.reported_run import Material
from t5lite.scaling.report.tables_shown import as_csv, curve_rows, run_rows

PAGE = "report.html"
"""Whose presence makes a folder a report, which may be replaced."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report is to be of.

    Attributes:
      given: the places, as they were given.
      material: what was read of them.
      loss: the column that laws are of.
      methods: of fitting, by name.
      settings: of fitting.
      predictions: that were written down before.
    """

    given: tuple[str, ...]
    material: Material
    loss: str = "loss"
    methods: tuple[str, ...] = tuple(METHODS)
    settings: Settings = field(default_factory=Settings)
    predictions: tuple[WrittenDown, ...] = ()


def write_report(
    report: Report, folder: StoragePath, *, overwrite: bool = False
) -> tuple[StoragePath, list[str]]:
    """Fit, draw and write; return the page, and what is to be said of the predictions.

    Raises:
      UserError: if the folder cannot be written, or holds something else.
    """
    runs = report.material.runs
    found = families(runs, report.methods, report.settings)
    predictions, notes = _predictions(report, found)
    with new_directory(folder, overwrite=overwrite, mark=PAGE) as written, plain_text():
        drawn = _Drawings(written)
        content = Content(
            title=_title(report.given),
            given=report.given,
            runs=runs,
            families=tuple(found),
            notes=(*report.material.notes, *notes),
            predictions=tuple(predictions),
            curves={each.name: drawn.curves(found, each) for each in PROGRESS},
            of_family={each.name: drawn.laws(each, report.loss) for each in found},
            of_predictions={each.name: drawn.predictions(each, predictions) for each in found},
            level=report.settings.level,
        )
        write_text(written / PAGE, page(content))
        write_bytes(written / "table.csv", as_csv(run_rows(runs)))
        write_bytes(written / "curves.csv", as_csv(curve_rows(runs)))
    return folder / PAGE, notes


def _predictions(report: Report, found: Sequence[Family]) -> tuple[list[Prediction], list[str]]:
    predictions = [each for family in found for each in held_out(family)]
    notes: list[str] = []
    for each in report.predictions:
        more, said = with_outcomes(each, found)
        predictions += more
        notes += said
    return predictions, notes


def _title(given: Sequence[str]) -> str:
    names = [place(each).name or each for each in given]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class _Drawings:
    """Figures, each of which is written as a PNG and returned for the page."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def curves(self, found: Sequence[Family], progress: Progress) -> list[Shown]:
        """Return the curves of each family, with what is not in them."""
        shown = []
        for family in found:
            figure = curves(family, progress)
            if figure is not None:
                lacking = sum(each.curve is None or not _has(each.curve, progress) for each in family.runs)
                besides = f" {lacking} of {len(family.runs)} runs do not tell it." if lacking else ""
                caption = f"{family.name or 'All runs'}: loss over {progress.label}.{besides}"
                shown.append(self._shown(figure, f"curves_{progress.name}", family, caption))
        return shown

    def laws(self, family: Family, loss: str) -> list[Shown]:
        """Return what laws make of a family."""
        num_points = len(family.fitted)
        dots = f" Of {num_points:,} points {fit_figures.MOST_DOTS} are drawn."
        dots = dots if num_points > fit_figures.MOST_DOTS else ""
        held = f"; open diamonds: held out ({len(family.held_out)})" if len(family.held_out) else ""
        drawn = (
            (
                "isoflop",
                fit_figures.profiles(family, loss=loss),
                "Runs of each budget, its parabola and lowest point (diamond).",
            ),
            (
                "best_tokens",
                fit_figures.best_sizes(family),
                "Best tokens for a budget by each method, with intervals as bands.",
            ),
            (
                "lowest_loss",
                fit_figures.lowest_loss(family, loss=loss),
                f"Runs, and the lowest loss by the law, with its interval as a band{held}.{dots}",
            ),
            (
                "residuals",
                fit_figures.residuals(family),
                f"How far each run is above or below the law{held}.{dots}",
            ),
        )
        return [self._shown(figure, name, family, caption) for name, figure, caption in drawn if figure]

    def predictions(self, family: Family, predictions: Sequence[Prediction]) -> list[Shown]:
        """Return how predictions of a family's runs came out."""
        figure = fit_figures.missed([each for each in predictions if each.family == family.name])
        caption = "Predicted loss above or below the outcome, with the interval of the prediction."
        return [] if figure is None else [self._shown(figure, "predictions", family, caption)]

    def _shown(self, figure: Figure, name: str, family: Family, caption: str) -> Shown:
        self._count += 1
        # Families may have any name, files not.
        words = "".join(each if each.isascii() and each.isalnum() else "_" for each in family.name)[:40]
        file = f"{self._count:02d}_{name}_{words or 'all'}.png"
        write_bytes(self._folder / file, png(figure))
        svg = themed_svg(figure, name=f"figure{self._count}", says=caption)
        return Shown(svg=svg, file=file, caption=caption)


def _has(curve: object, progress: Progress) -> bool:
    at = getattr(curve, progress.name)
    return bool(((at > 0) & (at == at)).any())
