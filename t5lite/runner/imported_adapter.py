"""An adapter that another system trained, to a run directory beside its base."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from t5lite.adapters import Adaptation, Adapter, Base, LoRA, PromptTuning
from t5lite.checkpointing.manager import CheckpointConfig, Checkpoints
from t5lite.checkpointing.reading import largest_leaf, parameters_digest
from t5lite.core.errors import ConfigError, UserError
from t5lite.core.files import check_apart, check_new_directory, new_directory, write_bytes
from t5lite.core.storage.addresses import place
from t5lite.core.storage.literal_path import checkpoint_path
from t5lite.core.storage.local_copies import local_directory
from t5lite.core.types import Tree
from t5lite.interop import huggingface, peft
from t5lite.models.functional import FunctionalModel, build
from t5lite.runner.checkpoint_choice import chosen_step
from t5lite.runner.run_directory import IMPORTED, MODEL_FILE, RunDirectory
from t5lite.runner.snapshot import Snapshot


@dataclass(frozen=True)
class ImportedAdapter:
    """What ``import_adapter`` made."""

    num_params: int
    base: Base
    kind: str
    """What it is, in words that follow "an adapter"."""
    notes: tuple[str, ...]
    """What to say of what the folder has not, or has besides."""


@dataclass(frozen=True)
class _Found:
    """An adapter as it is here."""

    adapter: Adapter
    own: Tree
    kind: str
    """As of ``ImportedAdapter``."""
    notes: tuple[str, ...] = ()


def import_adapter(
    source: str | os.PathLike[str], output: str | os.PathLike[str], *, base: str | None = None
) -> ImportedAdapter:
    """Read a folder that ``peft`` saved into a new run directory: an adapter at step 0, beside its base.

    Args:
      source: the folder; of one in a bucket, a copy on the local disk is read.
      output: run directory to create.
      base: run directory of the model that was adapted, whose newest checkpoint it is; None: the one that the
        folder names.

    Raises:
      UserError: for an adapter that has no counterpart here, no base, or an output that is not empty.
      CheckpointError: if the folder is damaged or does not fit the base.
    """
    check_apart(place(output), [source])
    check_new_directory(place(output))
    checkpoint_path(RunDirectory.at(output).checkpoints)
    with local_directory(place(source)) as folder:
        found = _found_base(folder, base)
        read = peft.read_adapter(folder, found.model.config)
    become = _BECOME[type(read)](read, build(found.model.config, found.model.execution))
    step = chosen_step(found, "newest")
    beside = Base(
        run=str(found.directory.path),
        step=step,
        digest=parameters_digest(found.directory.checkpoints, step),
    )
    with new_directory(place(output), last=[MODEL_FILE]) as temporary:
        directory = RunDirectory.at(temporary)
        directory.write_model(
            found.model.config,
            found.vocabulary,
            execution=found.model.execution,
            eos_ids=found.model.eos_ids,
            is_imported=True,
            adaptation=Adaptation(adapter=become.adapter, base=beside),
        )
        directory.write_classes(found.classes)
        kept = huggingface.read_kept_files(found.directory.kept_tokenizer) if found.is_imported else {}
        for name, content in kept.items():
            write_bytes(directory.kept_tokenizer / name, content)
        saving = Checkpoints(
            directory.checkpoints, CheckpointConfig(), max_host_bytes=largest_leaf(become.own)
        )
        with saving as checkpoints:
            metadata = {IMPORTED: str(source), **beside.to_json()}
            checkpoints.save(0, {"step": 0, "params": become.own}, metadata)
    num_params = sum(leaf.size for leaf in jax.tree.leaves(become.own))
    return ImportedAdapter(num_params, beside, become.kind, become.notes)


def _found_base(folder: Path, base: str | None) -> Snapshot:
    """Return the run of the model that was adapted.

    Raises:
      ConfigError: if there is none, or it holds an adapter itself.
    """
    named = peft.base_name(folder)
    run = base if base is not None else named
    if run is None or (base is None and not RunDirectory.at(run).model_file.is_file()):
        raise ConfigError(
            f"{folder} is an adapter of {named or 'a base that it does not name'}; give the run that has "
            f"that model by --base RUN (`t5lite import --from {named or 'FOLDER'} --output RUN` makes one)"
        )
    found = Snapshot(RunDirectory.at(run))
    if found.model.adaptation is not None:
        raise ConfigError(f"base={run} holds an adapter itself; give the base of that, or a merged model")
    return found


def _low_rank(updates: peft.LowRankUpdates, model: FunctionalModel) -> _Found:
    """Return the LoRA that has these updates.

    Raises:
      UserError: for updates of what cannot be adapted here, by name.
    """
    adaptable = {"/".join(kernel.path) for kernel in LoRA(rank=1, targets=("*",)).kernels(model)}
    if others := sorted(updates.factors.keys() - adaptable):
        raise UserError(
            f"the adapter adapts {', '.join(others)}, which is no kernel of a layer and cannot be adapted "
            "here; merge it into its base with peft's merge_and_unload(), and import that"
        )
    adapter = LoRA(
        rank=updates.rank,
        alpha=updates.scale * updates.rank,
        dropout=updates.dropout,
        targets=tuple(updates.factors),
    )
    kind, without = f"of {len(updates.factors)} kernels", updates.without
    notes = (
        (f"{len(without)} have none there, and get one of zeros: {', '.join(without)}",) if without else ()
    )
    return _Found(adapter, adapter.own_params(updates.factors), kind, notes)


def _prompt(tokens: peft.VirtualTokens, model: FunctionalModel) -> _Found:
    """Return the prompt tuning that has these virtual tokens; errors as of ``PromptTuning.adapt``."""
    num = len(tokens.prompt_PD)
    adapter = PromptTuning(num_tokens=num, initialization="random")
    adapter.adapt(model)
    notes = ()
    if tokens.num_unread:
        notes = (f"{tokens.num_unread} more are for a decoder, which peft does not read: they are left out",)
    return _Found(adapter, adapter.own_params(tokens.prompt_PD), f"of {num} virtual tokens", notes)


_BECOME: Mapping[type, Callable[[Any, FunctionalModel], _Found]] = {
    peft.LowRankUpdates: _low_rank,
    peft.VirtualTokens: _prompt,
}
"""What each kind of PEFT's is here."""
