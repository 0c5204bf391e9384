"""What to change in a run that does not fit, from what takes the space."""

from t5lite.models.config import Execution
from t5lite.planning.compiled.compile import CompiledStep
from t5lite.training.config import StepConfig

_SEVERAL = 0.25
"""Share of the needed memory from which a kind of content is worth a change."""


def advice(step: CompiledStep, execution: Execution, config: StepConfig, *, style: str) -> list[str]:
    """Return what to try, most promising first; empty where the step fits.

    Args:
      step: that was compiled.
      execution: of the run's model.
      config: of the run's step.
      style: of partitioning (``PartitioningConfig.style``).
    """
    if step.fits:
        return []
    memory = step.memory
    if memory.needed <= memory.available:
        return [
            "other --partitioning.compiler-options: of the device's memory there is enough",
            _microbatches(config),
            "a smaller --training.batch-size",
        ]
    state = memory.parameters + memory.optimizer
    shares = {
        "activations": memory.activations / memory.needed,
        "temporaries": memory.temporaries / memory.needed,
        "state": state / memory.needed,
    }
    remedies = {
        "activations": _fewer_activations(execution, config, style=style),
        "temporaries": [_microbatches(config)],
        "state": _smaller_state(step, style=style),
    }
    large = sorted((kind for kind in shares if shares[kind] >= _SEVERAL), key=lambda kind: -shares[kind])
    tried = [remedy for kind in large for remedy in remedies[kind]]
    chips = f"more chips: at least {memory.needed / memory.available:.1f} times the memory is needed"
    return [*dict.fromkeys(tried), chips]


def _fewer_activations(execution: Execution, config: StepConfig, *, style: str) -> list[str]:
    again = ["--execution.remat dots (gather the layers' kernels for the backward pass, too)"]
    full = "--execution.remat full" + " --execution.remat-names" * bool(execution.remat_names)
    remat = [] if execution.remat == "full" else [f"{full} (recompute a layer from its input)"]
    remat = again + remat if execution.remat == "gathered" else remat
    whole = style == "tensor_parallel"
    shard = ["--partitioning.style sequence_parallel (residuals in shards of their length)"] if whole else []
    return [*shard, *remat, _microbatches(config), "a smaller --training.batch-size"]


def _microbatches(config: StepConfig) -> str:
    return f"--step.num-microbatches {2 * config.num_microbatches} (the same result, in parts)"


def _smaller_state(step: CompiledStep, *, style: str) -> list[str]:
    if style == "data_parallel":
        return ["--partitioning.style fsdp (every device holds a part of parameters and optimizer)"]
    if step.mesh.get("replica", 1) > step.topology.num_slices:
        return ["a smaller --partitioning.replica: each replica has a copy of parameters and optimizer"]
    return ["an optimizer with less state (Adafactor)"]
