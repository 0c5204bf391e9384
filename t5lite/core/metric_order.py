"""Which of two values of a metric is the better one, as its name says."""

_LOWER = ("loss", "perplexity", "bits_per_byte", "bits_per_masked_byte", "error", "brier_score")
"""What names of metrics end in that count what is wrong."""


def lower_is_better(metric: str) -> bool:
    """Whether less of it is better, as of losses; of accuracies and scores of text more is."""
    return metric.endswith(_LOWER)
