"""Weights out of and into run directories."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.reading import Step, largest_leaf
from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.core.files import check_apart, check_new_directory, new_directory, write_bytes
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.core.storage.literal_path import checkpoint_path
from t5lite.core.storage.local_copies import local_directory
from t5lite.data.examples.label_classes import LabelClasses, named_classes
from t5lite.data.vocabulary import Vocabulary, open_vocabulary
from t5lite.decoding import decoding_mode, decoding_programs, ids_of_eos
from t5lite.interop import Format, format_for
from t5lite.interop.departure import Export
from t5lite.interop.stablehlo import ProgramSizes
from t5lite.interop.usage import Usage
from t5lite.models.config import Execution, ModelConfig
from t5lite.models.functional import build
from t5lite.partitioning import PartitioningConfig, make_partitioner
from t5lite.runner.averages import Average
from t5lite.runner.loading import load_adapter, load_trained
from t5lite.runner.run_directory import IMPORTED, MODEL_FILE, RunDirectory
from t5lite.runner.snapshot import Snapshot
from t5lite.runner.text_frames import text_frame, trained_length
from t5lite.runner.trained_on import trained_on
from t5lite.runner.vocabulary_check import check_vocabulary


@dataclass(frozen=True)
class ExportedRun:
    """What ``export`` wrote, the step of the checkpoint it is, and whether that was imported."""

    step: int
    origin: str
    """What the weights are, in words."""
    export: Export
    imported: bool


def export(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    step: Step = "newest",
    average: Average | None = None,
    dtype: str = "float32",
    format_name: str = "huggingface",
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
) -> ExportedRun:
    """Write a run's weights and vocabulary as a new folder.

    The parameters are restored onto all devices that are there and leave them one tensor at a time.

    Args:
      run: run directory.
      output: folder to create.
      step: checkpoint, or "best"; the newest by default.
      average: what to take in place of its parameters (``runner.averages``).
      dtype: of the exported weights.
      format_name: a key of ``interop.FORMATS``.
      overwrite: replace ``output`` if it is such a folder, with nothing in it but what was exported.
      options: further arguments of the format's ``export_folder``.

    Raises:
      UserError: for an unknown format or one that has no such model, a run without a checkpoint, or an
        output that exists or overlaps with the run directory.
    """
    chosen = format_for("export", format_name)
    assert chosen.export_folder is not None  # format_for has checked it
    check_apart(place(output), [run])
    check_new_directory(place(output), overwrite=overwrite, mark=chosen.mark)
    directory = RunDirectory.at(run)
    found = Snapshot(directory)
    config, vocabulary = found.model.config, found.vocabulary
    adaptation = found.model.adaptation
    if adaptation is not None and not (chosen.of_adapter or adaptation.adapter.merges):
        raise ConfigError(
            f"{run} holds {adaptation.adapter} beside {adaptation.base.run}, and no model without it "
            "computes the same; export it by itself by --format peft; evaluate and generate read it as it is"
        )
    if reason := chosen.fits(config):
        raise ConfigError(f"{run} cannot be exported as {format_name}: {reason}")
    # Into the directory of a training, anyone may have put a tokenizer that is not the model's.
    imported = found.is_imported
    kept = _kept_files(directory.kept_tokenizer, chosen) if imported else {}
    if chosen.check_tokenizer is not None:
        chosen.check_tokenizer(vocabulary, config, kept)
    partitioner = make_partitioner(PartitioningConfig())
    load = load_adapter if chosen.of_adapter else load_trained
    trained = load(found, partitioner, step=step, average=average)
    arguments = dict(options or {})
    if kept:
        arguments["kept_files"] = kept
    if "usage" in chosen.takes:
        classes = found.classes
        arguments["usage"] = Usage(
            class_names=classes.texts if classes else (),
            eos_ids=found.model.eos_ids,
            generation=directory.read_generation() if imported else {},
            text_length=trained_length(found),
        )
    if "frame" in chosen.takes and (read := trained_on(found)) is not None:
        arguments["frame"] = decoding_mode(config).frame(vocabulary, read)
    elif "frame" in chosen.takes and imported and not config.writes:
        arguments["frame"] = text_frame(config, vocabulary, is_imported=True)
    if "programs" in chosen.takes:
        arguments["execution"] = found.model.execution
        sizes = arguments.setdefault("sizes", ProgramSizes())
        arguments["programs"] = decoding_programs(
            config,
            max_decode_length=sizes.max_decode_length,
            eos_id=(*ids_of_eos(trained.vocabulary.eos_id), *found.model.eos_ids),
            known_ids=trained.vocabulary.known_ids,
        )
    if "base_export" in chosen.takes and adaptation is not None:
        base = adaptation.base
        arguments["base_export"] = f"t5lite export --run {base.run} --step {base.step} --output BASE"
    written = chosen.export_folder(
        trained.params,
        config,
        output,
        vocabulary=trained.vocabulary,
        dtype=dtype,
        overwrite=overwrite,
        **arguments,
    )
    return ExportedRun(trained.step, trained.origin, written, imported=imported)


def import_model(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    format_name: str = "huggingface",
    vocabulary: str | os.PathLike[str] | None = None,
    extra_ids: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> int:
    """Read a folder into a new run directory with a checkpoint at step 0; return the parameter count.

    The parameters arrive on all devices that are there, sharded where they can be.

    Args:
      source: the folder; of one in a bucket, a copy on the local disk is read.
      output: run directory to create.
      format_name: a key of ``interop.FORMATS``.
      vocabulary: the one that belongs to the weights, if not the folder's (see ``open_vocabulary``).
      extra_ids: number of its sentinels, or of the folder's; None takes what its files say.
      options: further arguments of the format's ``import_folder``.

    Raises:
      UserError: for an unknown format, a folder that does not hold a usable model and vocabulary, or an
        output that is not empty or overlaps with the folder.
    """
    chosen = format_for("import", format_name)
    check_apart(place(output), [source])
    check_new_directory(place(output))
    checkpoint_path(RunDirectory.at(output).checkpoints)
    # The vocabulary comes first where it can: weights may take long to read.
    given = open_vocabulary(vocabulary, extra_ids) if vocabulary else None
    if given is None and chosen.read_vocabulary is None:
        raise CheckpointError(
            f"format {format_name!r} holds no vocabulary; give the one that {source} was trained with, "
            "by --vocabulary"
        )
    with local_directory(place(source)) as folder:
        return _import(chosen, folder, output, given, extra_ids, {IMPORTED: str(source)}, options or {})


def _import(
    chosen: Format,
    source: Path,
    output: str | os.PathLike[str],
    given: Vocabulary | None,
    extra_ids: int | None,
    metadata: Mapping[str, Any],
    options: Mapping[str, Any],
) -> int:
    """Read a local folder into a new run directory, as ``import_model`` says; return the parameter count."""
    assert chosen.import_folder is not None  # format_for has checked it
    belonging, usage = given, Usage()

    def check(config: ModelConfig) -> None:
        nonlocal belonging, usage
        belonging = _vocabulary_beside(chosen, source, extra_ids) if given is None else given
        if chosen.check_vocabulary is not None:
            chosen.check_vocabulary(source, belonging)
        check_vocabulary(belonging, config, imported=True)
        usage = chosen.read_usage(source) if chosen.read_usage else usage

    config, params = chosen.import_folder(source, partitioner="fitting", check=check, **options)
    assert belonging is not None  # check has seen to it
    # The folder's files say what its vocabulary is, and so not what was said against them.
    kept = _kept_files(source, chosen) if given is None and extra_ids is None else {}
    with new_directory(place(output), last=[MODEL_FILE]) as temporary:
        directory = RunDirectory.at(temporary)
        directory.write_model(
            config,
            belonging,
            execution=Execution(param_dtype=options.get("param_dtype", "float32")),
            eos_ids=_other_eos_ids(usage, belonging, config),
            is_imported=True,
        )
        directory.write_classes(_named_classes(usage, belonging, config))
        directory.write_generation(usage.generation)
        for name, content in kept.items():
            write_bytes(directory.kept_tokenizer / name, content)
        saving = Checkpoints(directory.checkpoints, CheckpointConfig(), max_host_bytes=largest_leaf(params))
        with saving as checkpoints:
            checkpoints.save(0, {"step": 0, "params": params}, dict(metadata))
    return build(config).num_params


def _named_classes(usage: Usage, vocabulary: Vocabulary, model: ModelConfig) -> LabelClasses | None:
    """Return the classes of an imported classifier; None where the folder names none."""
    if model.num_named_labels is None or not usage.class_names:
        return None
    return named_classes(usage.names(model.num_named_labels), vocabulary)


def _other_eos_ids(usage: Usage, vocabulary: Vocabulary, model: ModelConfig) -> tuple[int, ...]:
    """Return what ends a text besides the vocabulary's EOS; an id beyond the table never does."""
    return tuple(each for each in usage.eos_ids if each != vocabulary.eos_id and each < model.vocab_size)


def _vocabulary_beside(chosen: Format, source: str | Path, extra_ids: int | None) -> Vocabulary:
    vocabulary = chosen.read_vocabulary(source, extra_ids) if chosen.read_vocabulary else None
    if vocabulary is None:
        raise CheckpointError(
            f"{source} has no vocabulary that t5lite reads (spiece.model, tokenizer.json, or ByT5's "
            "tokenizer_config.json); write the tokenizer into it with transformers' save_pretrained, or give "
            "one by --vocabulary"
        )
    return vocabulary


def _kept_files(folder: StoragePath, chosen: Format) -> Mapping[str, bytes]:
    return {} if chosen.read_kept_files is None else chosen.read_kept_files(folder)
