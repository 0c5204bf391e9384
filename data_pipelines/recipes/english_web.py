"""English web text, cleaned as C4 and Gopher were, without duplicates: a token store for pretraining.

    t5lite prepare --recipe data_pipelines/recipes/english_web.py --inputs crawl/*.warc.wet.gz \
        --bad-words bad_words.txt --evaluation-texts evaluation/ --output data/web

Stages: Unicode repair, English (fastText), C4's rules, Gopher's quality and repetition filters, no 13-gram of
an evaluation text; then exact and near-duplicates go (MinHash, 14 bands of 8), and repeated spans of three
sentences. It is made for web pages: of other texts, C4's rules leave little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data_pipelines.expressions import MinHash
from data_pipelines.options import Cleaning, PipelineOptions
from data_pipelines.pipeline import run
from data_pipelines.stages import (
    C4Rules,
    EvaluationOverlap,
    GopherQuality,
    GopherRepetition,
    Language,
    Stage,
    UnicodeRepair,
)
from data_pipelines.stages.c4 import read_bad_words
from t5lite.core import command_line
from t5lite.core.home import expand_fields


@dataclass(frozen=True, kw_only=True)
class Options(PipelineOptions):
    """English web text, cleaned as C4 and Gopher were, without duplicates."""

    bad_words: str | None = None
    """File of words and phrases, one a line; a page with one is dropped. Without it none is."""

    evaluation_texts: tuple[str, ...] = ()
    """Files or folders of evaluation texts; what shares 13 words in a row with them is dropped."""

    language: str = "en"
    """Language to keep; Gopher's stop words are asked for in English only."""

    def __post_init__(self):
        super().__post_init__()
        expand_fields(self, "bad_words", "evaluation_texts")


def cleaning(options: Options) -> Cleaning:
    """Return the stages."""
    stages: list[Stage] = [
        UnicodeRepair(),
        Language(code=options.language),
        C4Rules(bad_words=read_bad_words(options.bad_words) if options.bad_words else ()),
        GopherQuality(minimum_stop_words=2 if options.language == "en" else 0),
        GopherRepetition(),
    ]
    if options.evaluation_texts:
        stages.append(EvaluationOverlap(inputs=options.evaluation_texts))
    return Cleaning(stages=tuple(stages), minhash=MinHash(), repeated_spans=True)


def prepare(arguments: Sequence[str], *, command: str) -> int:
    """Run the recipe from the command line."""
    options = command_line.parse(Options, arguments, prog="t5lite prepare --recipe english_web.py")
    run(options, cleaning(options), recipe="english_web", command=command)
    return 0
