"""model.json: what a run's model is, how it is computed, and which vocabulary it reads."""

from dataclasses import dataclass, field
from typing import Any

from t5lite.adapters import Adaptation, Adapter
from t5lite.core.errors import ConfigError
from t5lite.core.migrations import Versions, unchanged
from t5lite.core.storage.addresses import StoragePath
from t5lite.core.strict_json import StrictJson
from t5lite.data.vocabulary import Vocabulary, VocabularyKind
from t5lite.models.config import PARTS, Architecture, EncoderDecoderConfig, Execution, ModelConfig
from t5lite.models.config.migration import with_kinds


@dataclass(frozen=True)
class VocabularyFile:
    """What model.json says of the vocabulary beside it."""

    extra_ids: int
    fingerprint: str
    kind: VocabularyKind = "sentencepiece"
    file: str = "spiece.model"


@dataclass(frozen=True)
class ModelFile:
    """What model.json says."""

    architecture: Architecture
    config: ModelConfig
    vocabulary: VocabularyFile
    execution: Execution = field(default_factory=Execution)
    """How the run computes it, and in which dtype its parameters are."""
    eos_ids: tuple[int, ...] = ()
    """What ends a generated text besides the vocabulary's EOS; an imported model may say so."""
    adaptation: Adaptation | None = None
    """What its checkpoints hold, if not the whole model: an adapter, and whose."""
    is_imported: bool | None = None
    """Whether its parameters were, or those that its first training began with; None: not known."""

    def __post_init__(self) -> None:
        if self.architecture != self.config.architecture:
            raise ConfigError(
                f"architecture is {self.architecture!r}, but config is a {type(self.config).__name__}"
            )

    @classmethod
    def of(cls, model: ModelConfig, vocabulary: Vocabulary) -> "ModelFile":
        """Return what the file of a run says, but for what may change and where it comes from."""
        return cls(
            architecture=model.architecture,
            config=model,
            vocabulary=VocabularyFile(
                extra_ids=vocabulary.extra_ids,
                fingerprint=vocabulary.fingerprint,
                kind=vocabulary.kind,
                file=next(iter(vocabulary.files)),
            ),
        )

    @property
    def narrowed(self) -> ModelConfig:
        """What the model is to its inputs; its own ``config`` where no adapter takes positions of theirs."""
        return self.config if self.adaptation is None else self.adaptation.adapter.narrowed(self.config)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return _JSON.unstructure(self, ModelFile)

    @property
    def defining(self) -> dict[str, Any]:
        """The content without what is free to change when a run resumes."""
        content = self.to_json()
        config = {**content["config"], **dict.fromkeys(("dropout_rate", *self.config.idle_fields))}
        free = {"execution": None, "eos_ids": (), "adaptation": None, "is_imported": None}
        return {**content, "config": config, **free}


def _with_type(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 0 of ``model.json``, in which the only model of a time had no ``type``."""
    config = content.get("config")
    if not isinstance(config, dict):
        return content
    return {**content, "config": {"type": EncoderDecoderConfig.__name__, **config}}


def _with_execution(content: dict[str, Any]) -> dict[str, Any]:
    """Migrate version 1, in which ``config`` said how the model is computed, too."""
    if "config" not in content:
        return content
    config, execution = with_kinds(content["config"], name="config")
    return {**content, "config": config, "execution": execution}


VERSIONS = Versions({0: _with_type, 1: _with_execution, 2: unchanged, 3: unchanged})
_JSON = StrictJson(unions=(*PARTS, ModelConfig, Adapter), versions={ModelFile: VERSIONS})


def read_model_file(path: StoragePath) -> ModelFile:
    """Return what the file says.

    Raises:
      ConfigError: if it is damaged.
    """
    return _JSON.read(path, ModelFile)
