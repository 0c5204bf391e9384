"""Plan every published shape on a stated slice, and compare predictions with published speeds.

    python -m benchmarks.planned_presets            # prints the two tables
    python -m benchmarks.planned_presets --write    # and writes them into docs/planning.md

Nothing is compiled; a minute, and no network.
"""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from benchmarks.published_speeds import RUNS, compare, markdown
from t5lite.models.config import DecoderOnlyConfig, EncoderOnlyConfig, Execution, ModelConfig
from t5lite.models.functional import build
from t5lite.models.parameter_count import count_parameters
from t5lite.models.presets import PRESETS, preset
from t5lite.optim import AdamWConfig
from t5lite.planning.compiled.compile import BatchShape
from t5lite.planning.hardware.accelerator_types import parse_chips
from t5lite.planning.hardware.chips import GIB
from t5lite.planning.predicted.cost_model import CostModel
from t5lite.planning.search.candidates import search
from t5lite.planning.search.workload import planned_optimizer

PAGE = Path(__file__).resolve().parents[1] / "docs" / "planning.md"
SLICES = (
    (1e9, "v5e-16"),
    (5e9, "v5e-64"),
    (25e9, "v5e-256"),
    (80e9, "v5p-512"),
    (250e9, "v5p-2048"),
    (1e12, "v5p-4096"),
)
"""The slice for models below so many parameters."""
TOKENS_PER_STEP = 2**20
"""T5's 2048 rows of 512."""
CONTEXT_LENGTH = 2048
_COLUMNS = (
    *("model", "1e9 parameters", "slice", "rows x tokens"),
    *("mesh, style", "remat, microbatches", "GiB", "s", "MFU"),
)


def batch_of(config: ModelConfig) -> BatchShape:
    """Return rows of the architecture's usual lengths, about ``TOKENS_PER_STEP`` tokens together."""
    if isinstance(config, EncoderOnlyConfig):
        return BatchShape(batch_size=TOKENS_PER_STEP // 512, encoder_length=512)
    if isinstance(config, DecoderOnlyConfig):
        length = config.position_limit or CONTEXT_LENGTH
        return BatchShape(batch_size=TOKENS_PER_STEP // length, decoder_length=length)
    return BatchShape(batch_size=TOKENS_PER_STEP // 512, encoder_length=512, decoder_length=114)


def row(name: str) -> str:
    """Return the table's line for a preset: the fastest way that is predicted to fit."""
    config = preset(name)
    parameters = count_parameters(config)
    chips = next(chips for limit, chips in SLICES if parameters < limit)
    topology, batch = parse_chips(chips), batch_of(config)
    model = build(config, Execution(compute_dtype="bfloat16"))
    costs = CostModel(model, planned_optimizer(AdamWConfig(), model), topology, batch)
    found = search(costs)
    lengths = "+".join(str(length) for length in (batch.encoder_length, batch.decoder_length) if length)
    start = [
        f"`{name}`",
        f"{parameters / 1e9:.2f}",
        f"{chips} ({topology})",
        f"{batch.batch_size} x {lengths}",
    ]
    if not found.ranked:
        return _line([*start, "nothing fits", "", "", "", ""])
    best = found.ranked[0]
    mesh = " ".join(f"{axis}={size}" for axis, size in best.partitioning.sizes.items() if size > 1)
    run, prediction = best.execution, best.prediction
    cells = [
        f"{mesh}, {best.partitioning.style}",
        f"{run.remat}, {run.num_microbatches}",
        f"{prediction.memory.total / GIB:.1f}",
        f"{prediction.time.step:.2f}",
        f"{prediction.mfu:.0%}",
    ]
    return _line(start + cells)


def presets_table() -> str:
    """Return the table of all presets."""
    return "\n".join([_line(_COLUMNS), "|---|---:|---|---|---|---|---:|---:|---:|", *map(row, PRESETS)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables, and write the page if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write docs/planning.md")
    tables = {
        "published": markdown([compare(run) for run in RUNS]),
        "presets": presets_table(),
    }
    write = parser.parse_args().write
    page = PAGE.read_text(encoding="utf-8") if write else ""
    for name, table in tables.items():
        print(table, end="\n\n")
        replaced = f"<!-- {name} -->\n{table}\n<!-- end {name} -->"
        page = re.sub(
            rf"<!-- {name} -->.*<!-- end {name} -->", lambda _, new=replaced: new, page, flags=re.DOTALL
        )
    if write:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
