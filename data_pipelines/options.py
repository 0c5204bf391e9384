"""What a recipe is told on the command line, and what it does to documents."""

from dataclasses import dataclass

from data_pipelines.expressions import MinHash
from data_pipelines.stages import Stage
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.data.reading.record_texts import InvalidUtf8
from t5lite.data.reading.text_files import TxtDocuments
from t5lite.data.vocabulary.base import check_extra_ids
from t5lite.data.vocabulary.sentencepiece_training import check_character_coverage


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """What every recipe asks on the command line; a recipe adds its own by a subclass."""

    inputs: tuple[str, ...]
    """Files, folders and globs, local or at an address: as for `t5lite prepare text`, also WARC and WET."""

    output: str
    """Directory to create, local or at gs:// or s3://."""

    field: str = "text"
    """JSON field or column (of TSV and CSV also a number) that holds the text."""

    txt_documents: TxtDocuments = "paragraph"
    """What a document is in .txt files."""

    on_invalid_utf8: InvalidUtf8 = "error"
    """Refuse invalid UTF-8, or replace each invalid byte by U+FFFD (web archives are always replaced)."""

    vocabulary: str | None = None
    """`bytes`, or an existing spiece.model, tokenizer.json or folder with one; without it, one is trained."""

    vocabulary_size: int = 32_000
    """Pieces of the vocabulary to train, without the sentinels."""

    character_coverage: float = 0.99999
    """Share of the characters of the text that a trained vocabulary has pieces for; 1 leaves none unknown."""

    extra_ids: int | None = None
    """Sentinels on top of the pieces; None takes what the vocabulary says, else 100 (125 for bytes)."""

    vocabulary_sample_mib: int = 64
    """Text in the sample that a vocabulary is trained on."""

    heldout_fraction: float = 0.01
    """Share of the documents kept for evaluation; 0 for none."""

    seed: int = 0
    """Of the order of the documents, and of the vocabulary's sample."""

    workers: int | None = None
    """Tasks at once; all cores (of the cluster) by default."""

    ray: str | None = None
    """Address of a Ray cluster to run on, such as `auto`; its nodes must see the same files."""

    work: str | None = None
    """Folder for what is in between, OUTPUT.work by default (in the current directory, if OUTPUT is in a
    bucket); the same command goes on from it."""

    keep_work: bool = False
    """Keep that folder when all is done."""

    overwrite: bool = False
    """Replace the output directory, if an earlier recipe wrote all that is in it."""

    def __post_init__(self):
        expand_fields(self, "inputs", "output", "vocabulary", "work")
        if not 0 <= self.heldout_fraction < 1:
            raise ConfigError(f"heldout_fraction={self.heldout_fraction} must be at least 0 and below 1")
        check_character_coverage(self.character_coverage)
        for name, least in (("vocabulary_size", 4), ("vocabulary_sample_mib", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least {least}")
        if not 0 <= self.seed < 1 << 32:
            raise ConfigError(f"seed={self.seed} must be in 0..{(1 << 32) - 1}")
        check_extra_ids(self.extra_ids or 0)
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers={self.workers} must be at least 1, or None for all cores")


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What a recipe does to documents."""

    stages: tuple[Stage, ...] = ()
    """Applied to each document, in order."""

    minhash: MinHash | None = None
    """How near-duplicates are found; None leaves them in. Exact ones always go."""

    repeated_spans: bool = False
    """Remove all but one occurrence of every span of three sentences."""

    minimum_sentences: int = 3
    """A document that loses spans must keep as many sentences."""
