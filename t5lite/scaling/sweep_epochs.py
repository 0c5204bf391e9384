"""How often the runs of a sweep see their data."""

from collections.abc import Sequence

from t5lite.data.pipeline import open_pipeline
from t5lite.scaling.counting import shape_of
from t5lite.scaling.observations import ONCE
from t5lite.scaling.sweeps import SweepRun


class Epochs:
    """The tokens of epochs; data that several runs are trained on alike is opened once."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}

    def unique_tokens(self, run: SweepRun) -> int:
        """Return the tokens of an epoch, counted as those that are trained on.

        Raises:
          DataError: if a store cannot be used.
        """
        config, model = run.config, run.config.model
        key = repr((config.data, model.architecture, model.decoder_start_id, config.seed))
        if key not in self._rows:
            self._rows[key] = open_pipeline(
                config.data,
                architecture=model.architecture,
                start_id=model.decoder_start_id,
                seed=config.seed,
            ).num_examples
        return self._rows[key] * shape_of(config).tokens

    def of(self, run: SweepRun) -> float:
        """Return how often a run sees its data; errors as of ``unique_tokens``."""
        return run.count.tokens / self.unique_tokens(run)

    def remarks(self, runs: Sequence[SweepRun]) -> list[str]:
        """Say how many runs repeat tokens, if any; errors as of ``unique_tokens``."""
        repeating = [each for each in map(self.of, runs) if each > ONCE]
        if not repeating:
            return []
        return [
            f"{len(repeating)} of {len(runs)} runs repeat tokens (up to {max(repeating):.3g} epochs), which "
            "`t5lite scaling fit` leaves out but for the method repetition; prepare more text, or see its "
            "--keep-repeats"
        ]
