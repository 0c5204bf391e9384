"""What a recipe says of the training: of its loop and of a step. Imports neither, nor JAX."""

from dataclasses import dataclass

from t5lite.core.errors import ConfigError
from t5lite.training.spikes import MIN_LOSSES


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long a run trains, on how much at a time, and how often it reports."""

    total_steps: int
    """Steps of the whole run, those before a resumption included; where ``epochs`` are given, they count."""
    epochs: float | None = None
    """Passes over the training data that the run makes, from which total_steps follows when it begins; None
    goes by steps."""
    batch_size: int
    """Rows of the global batch, over all devices and microbatches."""
    log_every_steps: int = 50
    """Steps that one line of metrics.jsonl sums up."""
    eval_every_steps: int | None = 1000
    """Steps between evaluations that say no interval of their own; None evaluates before the first and after
    the last step only."""
    ema_decay: float | None = None
    """Decay of an exponential moving average of the trained parameters, which is kept beside them (4 bytes a
    parameter more); evaluations and commands take it where ``average`` is ema. None keeps none."""
    early_stopping_patience: int | None = None
    """Evaluations in a row that do not improve on the best ``checkpoints.best_metric`` after which the run
    ends before ``total_steps``; None never does."""
    early_stopping_min_delta: float = 0.0
    """What a value must be better by than the best before to be an improvement."""
    check_replicas_every_steps: int | None = None
    """Steps between checks that devices which should hold the same bits of the state do; then every save is
    preceded by one, too. A check is a pass over the state's memory. None never looks."""
    profile_start_step: int | None = None
    """First step of a profiler trace, written to profile/ in the run directory; None takes none."""
    profile_num_steps: int = 5
    """Steps of the trace."""
    max_nonfinite_steps: int = 20
    """Steps in a row whose loss or gradient is not finite, or whose loss is a spike, after which the run goes
    back; it never ends, nor saves unless a signal stops it, within such a row."""
    spike_threshold: float | None = 10.0
    """Robust standard deviations above the recent median from which a loss is a spike (``training.spikes``);
    None calls none so. Since every deviation counts as 5 % of the median and 0.05 nats at least, the default
    takes half the loss again, and half a nat, for all of ``max_nonfinite_steps``: what diverges, not
    noise."""
    spike_window_steps: int = 128
    """Good steps whose losses are the recent ones."""
    max_rollbacks: int = 3
    """Times that a run goes back to the same checkpoint and leaves out the examples of the bad steps before
    it gives up; 0 gives up at once."""

    def __post_init__(self) -> None:
        for name in (
            "total_steps",
            "batch_size",
            "log_every_steps",
            "profile_num_steps",
            "max_nonfinite_steps",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"training.{name}={getattr(self, name)} must be 1 or more")
        if self.epochs is not None and not self.epochs > 0:
            raise ConfigError(f"training.epochs={self.epochs} must be above 0, or None to go by total_steps")
        if self.spike_threshold is not None and not self.spike_threshold > 0:
            raise ConfigError(f"training.spike_threshold={self.spike_threshold} must be positive, or None")
        if self.spike_window_steps < MIN_LOSSES:
            raise ConfigError(
                f"training.spike_window_steps={self.spike_window_steps} must be {MIN_LOSSES} or more: "
                "fewer losses do not tell a spike from noise"
            )
        if self.max_rollbacks < 0:
            raise ConfigError(f"training.max_rollbacks={self.max_rollbacks} must be 0 (none) or more")
        if self.eval_every_steps is not None and self.eval_every_steps < 1:
            raise ConfigError(
                f"training.eval_every_steps={self.eval_every_steps} must be 1 or more, "
                "or None for start and end"
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(
                f"training.ema_decay={self.ema_decay} must be between 0 and 1, or None for none"
            )
        if self.early_stopping_patience is not None and self.early_stopping_patience < 1:
            raise ConfigError(
                f"training.early_stopping_patience={self.early_stopping_patience} must be 1 or more, "
                "or None to train to the end"
            )
        if self.early_stopping_min_delta < 0:
            raise ConfigError(
                f"training.early_stopping_min_delta={self.early_stopping_min_delta} must be 0 or more"
            )
        if self.check_replicas_every_steps is not None and self.check_replicas_every_steps < 1:
            raise ConfigError(
                f"training.check_replicas_every_steps={self.check_replicas_every_steps} must be 1 or more, "
                "or None for never"
            )
        if self.profile_start_step is not None and not 0 <= self.profile_start_step < self.total_steps:
            raise ConfigError(
                f"training.profile_start_step={self.profile_start_step} must be in "
                f"0..{self.total_steps - 1}, or None"
            )


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """What one optimizer step does with one batch."""

    num_microbatches: int = 1
    """Parts the batch is run in, one after another, to save activation memory; the result is the same."""
    z_loss: float = 1e-4
    """Coefficient of log(Z)**2, which keeps logits from drifting; part of the loss, reported apart."""
    label_smoothing: float = 0.0
    """Probability the target distribution gives to the other ids together."""
    vocab_chunks: int | None = None
    """Parts of the vocabulary whose logits are made one after another, and again in the backward pass; the
    result is the same. None: 1, or more where a device's float32 logits would exceed 256 MiB (CPU: 1 GiB)."""
    max_gradient_norm: float | None = None
    """Gradients are scaled down to this global L2 norm if theirs is larger; None never scales."""
    skip_nonfinite: bool = True
    """Leave parameters and optimizer as they were where the loss or a gradient is not finite."""

    def __post_init__(self) -> None:
        if self.num_microbatches < 1:
            raise ConfigError(f"step.num_microbatches={self.num_microbatches} must be 1 or more")
        if self.z_loss < 0:
            raise ConfigError(f"step.z_loss={self.z_loss} must be 0 (off) or positive")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"step.label_smoothing={self.label_smoothing} must be at least 0 and below 1")
        if self.vocab_chunks is not None and self.vocab_chunks < 1:
            raise ConfigError(
                f"step.vocab_chunks={self.vocab_chunks} must be 1 (whole logits) or more, or None to "
                "choose by size"
            )
        if self.max_gradient_norm is not None and self.max_gradient_norm <= 0:
            raise ConfigError(
                f"step.max_gradient_norm={self.max_gradient_norm} must be positive, or None for no clipping"
            )
