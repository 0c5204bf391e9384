"""Any text, in any language: Unicode repaired, exact and near-duplicates removed, shuffled, tokenised.

    t5lite prepare --recipe data_pipelines/recipes/deduplicated_text.py --inputs my_texts/ --output data/mine

For text that is already good (books, articles, a dictionary). ``t5lite prepare text`` does without the repair
and keeps duplicates, in one process and without Daft.
"""

from collections.abc import Sequence

from data_pipelines.expressions import MinHash
from data_pipelines.options import Cleaning, PipelineOptions
from data_pipelines.pipeline import run
from data_pipelines.stages import UnicodeRepair
from t5lite.core import command_line


def prepare(arguments: Sequence[str], *, command: str) -> int:
    """Run the recipe from the command line."""
    options = command_line.parse(
        PipelineOptions, arguments, prog="t5lite prepare --recipe deduplicated_text.py"
    )
    cleaning = Cleaning(stages=(UnicodeRepair(),), minhash=MinHash())
    run(options, cleaning, recipe="deduplicated_text", command=command)
    return 0
