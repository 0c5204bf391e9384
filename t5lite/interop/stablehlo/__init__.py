"""Programs for serving: StableHLO by ``jax.export``, with the weights beside them.

A folder holds ``NAME.stablehlo`` for every program, model.safetensors, programs.json and the vocabulary's
files. It needs JAX and safetensors to run, nothing of t5lite. The weights are the first argument of every
program, as the flat dict that safetensors reads: all programs share one copy, and each is some kilobytes.
Sizes that are not fixed stay open (``jax.export``'s symbolic dimensions), so one program serves every batch.
"""

from t5lite.interop.stablehlo.exporting import export_folder, fits, how_to_load
from t5lite.interop.stablehlo.loading import ServingModel, load_exported
from t5lite.interop.stablehlo.programs import MARK, PLATFORMS, ProgramSizes, forward_program

__all__ = [
    "MARK",
    "PLATFORMS",
    "ProgramSizes",
    "ServingModel",
    "export_folder",
    "fits",
    "forward_program",
    "how_to_load",
    "load_exported",
]
