"""Weights out of and into run directories."""

from pathlib import Path

import jax

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.core.files import check_new_directory, new_directory
from t5lite.core.registry import lookup
from t5lite.interop import FORMATS
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.components import check_vocabulary, load_trained
from t5lite.runner.run_directory import RunDirectory


def export(
    run: str | Path,
    output: str | Path,
    *,
    step: int | None = None,
    dtype: str = "float32",
    format_name: str = "huggingface",
    overwrite: bool = False,
) -> int:
    """Write a run's weights and vocabulary as a new folder; return the checkpoint's step.

    Raises:
      UserError: for an unknown format, a run without a checkpoint, or an output that exists or overlaps
        with the run directory.
    """
    chosen = lookup(FORMATS, format_name, kind="format")
    _check_apart(Path(run), Path(output))
    check_new_directory(Path(output), overwrite=overwrite, mark=chosen.mark)
    partitioner = make_partitioner(PartitioningConfig(style="data_parallel"))
    trained = load_trained(RunDirectory.at(run), partitioner, step=step)
    chosen.export_folder(
        jax.device_get(trained.params),
        trained.model.config,
        output,
        vocabulary=trained.vocabulary,
        dtype=dtype,
        overwrite=overwrite,
    )
    return trained.report.step


def import_model(source: str | Path, output: str | Path, *, format_name: str = "huggingface") -> int:
    """Read a folder into a new run directory with a checkpoint at step 0; return the parameter count.

    Raises:
      UserError: for an unknown format, a folder that does not hold a usable model and vocabulary, or an
        output that is not empty.
    """
    chosen = lookup(FORMATS, format_name, kind="format")
    check_new_directory(Path(output))
    config, params = chosen.import_folder(source)
    vocabulary = chosen.read_vocabulary(source)
    if vocabulary is None:
        raise CheckpointError(
            f"{source} has no spiece.model; t5lite needs the SentencePiece model that belongs to the weights"
        )
    check_vocabulary(vocabulary, config)
    with new_directory(Path(output)) as temporary:
        directory = RunDirectory.at(temporary)
        directory.write_model(config, vocabulary)
        with Checkpoints(directory.checkpoints, CheckpointConfig()) as checkpoints:
            checkpoints.save(0, {"step": 0, "params": params}, {"imported_from": str(source)})
    return build(config).num_params


def _check_apart(run: Path, output: Path) -> None:
    """Check that replacing ``output`` cannot take anything of the run with it.

    Raises:
      ConfigError: if one lies in the other, or they are the same.
    """
    run, output = run.resolve(), output.resolve()
    if run == output or run in output.parents or output in run.parents:
        place = "the run directory itself" if run == output else "inside the run directory"
        place = "a directory that holds the run" if output in run.parents else place
        raise ConfigError(f"output={output} is {place}; export to a directory apart from {run}")
