"""What a run says of the parameters that it trains, and why that cannot change in a run."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import jax

from t5lite.checkpointing.partial import RestoreReport
from t5lite.core.errors import ConfigError
from t5lite.models.config.parts import TOKEN_TABLE
from t5lite.models.functional import FunctionalModel
from t5lite.optim.trained import Trained, parameter_paths
from t5lite.run_config import RunConfig
from t5lite.runner.resumption import Resumption

_LISTED = 3


def trained_messages(trained: Trained, model: FunctionalModel) -> list[str]:
    """Return what to say of a run that does not train everything of its model alike."""
    sizes = _sizes(model)
    messages = []
    if trained.frozen:
        num_trained = sum(sizes[path] for path in trained.rate_factors)
        groups = _groups(trained.rate_factors, sizes), _groups(trained.frozen, sizes)
        which = f": {groups[0]}" if len(groups[0]) < len(groups[1]) else f", all but {groups[1]}"
        messages.append(
            f"trains {num_trained:,} of {model.num_params:,} parameters, {len(trained.rate_factors)} of "
            f"{len(sizes)} arrays{which}"
        )
    if model.config.tie_embeddings and TOKEN_TABLE in trained.frozen:
        messages.append(f"note: {TOKEN_TABLE} is frozen, which is also the kernel of the logits (tied)")
    for factor in sorted({factor for factor in trained.rate_factors.values() if factor != 1}):
        of_factor = [path for path, each in trained.rate_factors.items() if each == factor]
        messages.append(
            f"learning rate times {factor:g} for {sum(sizes[path] for path in of_factor):,} parameters: "
            f"{_groups(of_factor, sizes)}"
        )
    if model.config.transfer is not None:
        messages.append(_size_message(trained, model, sizes))
    if trained.layer_factors:
        messages.append(_decay_message(trained, sizes))
    return messages


def _size_message(trained: Trained, model: FunctionalModel, sizes: Mapping[str, int]) -> str:
    """Return what a model that goes by the rates of a smaller one multiplies them with."""
    before, config = model.config.transfer, model.config
    assert before is not None
    numbers = Counter[float]()
    for path, factor in trained.size_factors.items():
        numbers[factor] += sizes[path]
    layers = "" if before.num_layers is None else f" and {before.num_layers} layers a stack"
    listed = ", ".join(f"{factor:.4g} ({numbers[factor]:,} parameters)" for factor in sorted(numbers)[::-1])
    return (
        f"rates are those of a model of width {before.embed_dim}{layers}, and this one has "
        f"{config.embed_dim}; learning rate times: {listed}"
    )


def _decay_message(trained: Trained, sizes: Mapping[str, int]) -> str:
    """Return the factors of layer-wise decay, from the output to the input, and how many each is of."""
    numbers = Counter[float]()
    for path, factors in trained.layer_factors.items():
        for factor in factors:
            numbers[factor] += sizes[path] // len(factors)
    listed = ", ".join(f"{factor:.4g} ({numbers[factor]:,} parameters)" for factor in sorted(numbers)[::-1])
    return f"learning rate times, from the head down to the embeddings: {listed}"


def random_messages(config: RunConfig, model: FunctionalModel, report: RestoreReport | None) -> list[str]:
    """Return what to say of a run that begins with random parameters that nothing is going to train.

    Args:
      config: of the run.
      model: of the run.
      report: what ``initialize_from`` gave; None if all parameters are random.
    """
    frozen = config.trained(model).frozen
    if report is not None:
        frozen &= {leaf.name.replace(".", "/") for leaf in report.new}
    if not frozen:
        return []
    return [
        f"warning: {len(frozen)} arrays have random values and are frozen, so that they stay random: "
        f"{_groups(frozen, _sizes(model))}; give initialize_from a run that has them, or train them"
    ]


def check_trained_alike(resumed: Resumption, config: RunConfig, model: FunctionalModel) -> None:
    """Check that a run goes on with the parameters that it was trained with so far.

    A checkpoint has optimizer state of these alone, and Adam's of others cannot begin in the middle: its
    bias correction counts all updates alike.

    Raises:
      ConfigError: naming what would be trained or frozen from here on.
    """
    if resumed.config is None:  # an older version's, which trained everything, or nobody can tell
        return
    averaged = [each.training.ema_decay is not None for each in (resumed.config, config)]
    if averaged[0] != averaged[1]:
        has, now = ("has a", None) if averaged[0] else ("has no", config.training.ema_decay)
        raise ConfigError(
            f"run_dir={config.run_dir} {has} moving average of its parameters up to step {resumed.step}, and "
            f"training.ema_decay is {now} now; change it back, or go on from these parameters in another "
            f"run_dir by --initialize-from.run {config.run_dir}"
        )
    before, now = resumed.config.trained(model), config.trained(model)
    if before.frozen == now.frozen:
        return
    sizes = _sizes(model)
    changes = {
        "newly trained": before.frozen - now.frozen,
        "newly frozen": now.frozen - before.frozen,
    }
    listed = "; ".join(f"{what}: {_groups(paths, sizes)}" for what, paths in changes.items() if paths)
    raise ConfigError(
        f"run_dir={config.run_dir} has optimizer state of what it trained up to step {resumed.step}, and "
        f"trainable is another now ({listed}); change it back, or go on from these parameters in another "
        f"run_dir by --initialize-from.run {config.run_dir}"
    )


def _sizes(model: FunctionalModel) -> dict[str, int]:
    leaves = jax.tree.leaves(model.abstract_params)
    paths = parameter_paths(model.abstract_params)
    return {path: math.prod(leaf.shape) for path, leaf in zip(paths, leaves, strict=True)}


def _groups(paths: Iterable[str], all_paths: Iterable[str]) -> str:
    """Return the fewest groups that are these paths and no others, the first of them if they are many."""
    paths, others = set(paths), set(all_paths) - set(paths)
    groups: list[str] = []
    for path in sorted(paths):
        names = path.split("/")
        group = next(
            group
            for group in ("/".join(names[:length]) for length in range(1, len(names) + 1))
            if not any(f"{other}/".startswith(f"{group}/") for other in others)
        )
        if group not in groups:
            groups.append(group)
    more = f" and {len(groups) - _LISTED} more" if len(groups) > _LISTED else ""
    return f"{', '.join(groups[:_LISTED])}{more}"
