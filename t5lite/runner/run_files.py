"""The files that make a directory a run, as a training writes them and finds again what was lost of them."""

import dataclasses

from t5lite.adapters import Adaptation
from t5lite.runner.beginning import Run
from t5lite.runner.config_history import write_config_history
from t5lite.runner.resumption import current_history


def write_files(run: Run) -> None:
    """Write what makes the directory of a run that begins or goes on usable; call it in one process."""
    directory = run.directory
    _write_model(run)
    directory.write_classes(run.pipeline.classes)
    directory.write_mixture(current_history(run.pipeline, run.resumed))
    directory.write_config(run.config)
    write_config_history(directory.config_history_file, run.history)


def write_lost_files(run: Run) -> list[str]:
    """Write those files of a finished run anew without which it cannot be used; call it in one process.

    The configuration is that of its newest checkpoint, not one that the command would have it train on with.

    Returns:
      Their names; of most runs none.
    """
    directory, resumed, missing = run.directory, run.resumed, run.plan.earlier.lost_files
    lost = []
    if directory.config_file.name in missing:
        lost.append(directory.config_file.name)
        config = resumed.config if resumed and resumed.config else run.config
        directory.write_config(dataclasses.replace(config, run_dir=run.config.run_dir))
    if run.pipeline.classes is not None and directory.classes_file.name in missing:
        lost.append(directory.classes_file.name)
        directory.write_classes(run.pipeline.classes)
    if directory.model_file.name in missing:
        lost.append(directory.model_file.name)
        _write_model(run)
    return lost


def _write_model(run: Run) -> None:
    base = run.plan.base
    run.directory.write_model(
        run.config.model,
        run.pipeline.vocabulary,
        execution=run.config.execution,
        eos_ids=run.plan.eos_ids,
        is_imported=run.plan.is_imported,
        adaptation=Adaptation(adapter=run.config.adapter, base=base) if base else None,
    )
