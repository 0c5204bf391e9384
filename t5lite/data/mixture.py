"""Several sources as one stream of examples: which, and in which shares (``mixture_schedule``)."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from t5lite.core.batch_fields import BatchSpec
from t5lite.core.errors import ConfigError, suggestion
from t5lite.data.mixture_pipeline import MixturePipeline, open_mixture
from t5lite.data.opening import Opening
from t5lite.data.sources import SourceDataConfig


@dataclass(frozen=True, kw_only=True)
class MixtureSource:
    """One source of a mixture, with an objective and lengths of its own."""

    name: str
    """What it is called in messages; a source keeps its place in its own order while its name stays."""

    data: SourceDataConfig
    """What it is made of; where it has ``max_epochs``, the mixture ends when it does."""

    weight: float | None = None
    """Its share of the examples, relative to the other weights; None for all: shares by size."""


@dataclass(frozen=True, kw_only=True)
class MixtureDataConfig:
    """Examples of several sources in fixed shares: by the sources' weights, or by their sizes.

    By size, the share of a source of ``n`` examples an epoch is proportional to
    ``min(n * scale, max_examples) ** (1 / temperature)``, as ``seqio.mixing_rate_num_examples``.
    """

    sources: tuple[MixtureSource, ...]

    temperature: float = 1.0
    """By size only: 1 is proportional to the sizes; the higher, the more alike the shares become."""

    scale: float = 1.0
    """By size only: by what sizes are multiplied before they are limited."""

    max_examples: int | None = None
    """By size only: the size beyond which a source counts as no larger (T5's K); None limits nothing."""

    def __post_init__(self):
        names = [source.name for source in self.sources]
        if not names or len(set(names)) < len(names) or not all(names):
            raise ConfigError(
                f"data.sources are named {names}; a mixture needs sources with names that differ"
            )
        weights = [source.weight for source in self.sources]
        if any(weight is not None and weight <= 0 for weight in weights):
            raise ConfigError(f"the weights {weights} must be positive; leave a source out to stop using it")
        if None in weights and any(weight is not None for weight in weights):
            raise ConfigError(
                f"of the weights {weights} some are missing; give all of them, or none for shares by size"
            )
        if (
            not self.temperature > 0
            or not self.scale > 0
            or (self.max_examples is not None and self.max_examples < 1)
        ):
            raise ConfigError(
                f"temperature={self.temperature}, scale={self.scale} and max_examples={self.max_examples} "
                "must be positive"
            )
        by_size = (self.temperature, self.scale, self.max_examples)
        if weights[0] is not None and by_size != (1.0, 1.0, None):
            raise ConfigError(
                f"temperature, scale and max_examples={by_size} are of shares by size, but the sources have "
                "weights; leave out either"
            )

    @property
    def named_sources(self) -> dict[str, SourceDataConfig]:
        """The sources by name."""
        return {source.name: source.data for source in self.sources}

    def source_named(self, name: str | None, *, field: str) -> SourceDataConfig:
        """Return the source that a field names; None is the first.

        Raises:
          ConfigError: if there is none such.
        """
        sources = self.named_sources
        if name is None:
            return self.sources[0].data
        if name not in sources:
            raise ConfigError(f"{field}={name!r} is no source{suggestion(name, sources)}")
        return sources[name]

    @property
    def store_options(self) -> dict[str, str]:
        """The places of the stores, by what they are called on the command line."""
        return {f"sources.{number}.data.store": each.data.store for number, each in enumerate(self.sources)}

    @property
    def store_fields(self) -> dict[tuple[str, ...], str]:
        """The places of the stores, by the path of their field."""
        return {("sources", name, "data", "store"): data.store for name, data in self.named_sources.items()}

    def with_stores(self, change: Callable[[str], str]) -> "MixtureDataConfig":
        """Return this configuration with ``change`` of every place."""
        changed = (
            dataclasses.replace(source, data=source.data.with_stores(change)) for source in self.sources
        )
        return dataclasses.replace(self, sources=tuple(changed))

    def with_answers(self, **said: Any) -> "MixtureDataConfig":
        """Return this configuration with sources that are asked so; errors as of a source."""
        changed = (
            dataclasses.replace(source, data=source.data.with_answers(**said)) for source in self.sources
        )
        return dataclasses.replace(self, sources=tuple(changed))

    def with_lengths_of_pairs(self, *, inputs_length: int, targets_length: int) -> NoReturn:
        """Refuse: each source has lengths, and each evaluation a task, of its own.

        Raises:
          ConfigError: in any case.
        """
        raise ConfigError(
            f"--task is for one source (inputs_length={inputs_length}, targets_length={targets_length}); "
            "in a mixture give each source its lengths, and each evaluation its task"
        )

    def open(self, opening: Opening) -> MixturePipeline:
        """Open all the sources; errors as of ``open_pipeline``."""
        return open_mixture(self, opening)

    def batch_spec(self, architecture: str) -> BatchSpec:
        """Return the fields of a batch for such models: what holds the rows of every source.

        Raises:
          ConfigError: if a source does not train such models.
        """
        specs = []
        for source in self.sources:
            if source.data.classifies(architecture):
                raise ConfigError(
                    f"the source {source.name!r} has pairs to classify, which cannot be mixed: each set of "
                    "pairs has classes of its own; train on it alone"
                )
            specs.append(source.data.batch_spec(architecture))
        return BatchSpec.covering(specs)

    def lengths(self, architecture: str) -> tuple[int, int]:
        """Return (encoder, decoder) lengths of the batch fields; errors as of ``batch_spec``."""
        spec = self.batch_spec(architecture)
        return spec.encoder_length, spec.decoder_length

    def rates(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """Return the share of each source, not normalised, given their examples an epoch."""
        if self.sources[0].weight is not None:
            return {source.name: float(source.weight or 0) for source in self.sources}
        limit = np.inf if self.max_examples is None else self.max_examples
        return {
            source.name: float(min(sizes[source.name] * self.scale, limit) ** (1 / self.temperature))
            for source in self.sources
        }
