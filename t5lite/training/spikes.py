"""Loss spikes: losses far above the recent ones, by a median and a deviation that outliers do not move.

Spikes are common in large trainings and clipping does not prevent them. What is done in public: PaLM
(Chowdhery et al. 2022, section 5.1) went back to a checkpoint about 100 steps before each of some 20 spikes
and left out 200 to 500 batches, those seen before and during it; the same batches did no harm when met from
another checkpoint. OPT-175B (Zhang et al. 2022) went back and lowered the rate. OLMo-core leaves out single
updates whose loss lies 6 standard deviations above the mean of the last 128. Many spikes pass by themselves.
"""

import math
import statistics
from dataclasses import dataclass, replace

MIN_LOSSES = 20
"""A spike is only told from noise against this many losses."""
_NORMAL_MAD = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation."""
_LEAST_DEVIATION = 0.05
"""Of the median, and in nats: losses that hardly vary would make a spike of every ripple."""


@dataclass(frozen=True, kw_only=True)
class SpikeDetector:
    """Tells spikes from the losses before them: a value, the same in every process that sees the same losses.

    A loss is a spike if it lies more than ``threshold`` robust standard deviations (1.4826 times the median
    absolute deviation, at least 0.05 of the median and 0.05 nats) above the median of ``recent``. Unlike
    mean and standard deviation, neither moves by a few outliers. Only what rises is a spike, so the fast
    decrease at the start of a training is none.
    """

    threshold: float | None
    """None calls nothing a spike."""
    window_steps: int
    """Losses that are remembered, at least ``MIN_LOSSES``."""
    recent: tuple[float, ...] = ()
    """Losses of the last steps that were no spikes, oldest first; finite."""

    @property
    def limit(self) -> float:
        """The largest loss that is no spike; infinite as long as too few losses are known."""
        if self.threshold is None or len(self.recent) < MIN_LOSSES:
            return math.inf
        median = statistics.median(self.recent)
        mad = statistics.median(abs(loss - median) for loss in self.recent)
        deviation = max(_NORMAL_MAD * mad, _LEAST_DEVIATION * max(abs(median), 1.0))
        return median + self.threshold * deviation

    def is_spike(self, loss: float) -> bool:
        """Whether ``loss`` is a spike; NaN and infinity are, once a limit is known."""
        limit = self.limit
        return math.isfinite(limit) and not loss <= limit

    def after(self, loss: float) -> "SpikeDetector":
        """Return the detector that also knows ``loss``, which is finite and no spike."""
        return replace(self, recent=(*self.recent, loss)[-self.window_steps :])
