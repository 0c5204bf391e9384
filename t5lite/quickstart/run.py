"""The quickstart from raw paragraphs to the report, stage by stage; running it again goes on."""

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from t5lite.core.errors import ConfigError
from t5lite.core.files import write_json, write_text
from t5lite.core.json_text import parse_json
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.quickstart import stages, starting_over
from t5lite.quickstart.recipes import Recipe, Task
from t5lite.quickstart.report import terminal_table, write_report
from t5lite.quickstart.results import QuickstartResults
from t5lite.quickstart.stage_log import StageLog
from t5lite.quickstart.summary import FILES, TaskRecord, summarise
from t5lite.training.attempts import read_attempts
from t5lite.training.goodput import goodput
from t5lite.training.incidents import Incidents, described

REPORT = "report.html"


def run(recipe: Recipe, directory: StoragePath, *, seed: int) -> QuickstartResults:
    """Run every stage that is not done yet and write the report.

    Raises:
      ConfigError: if ``directory`` holds a quickstart of another recipe or seed.
      Interrupted: if the user stopped a training stage; what was done is saved.
    """
    directory = directory.absolute()
    pretraining_config = recipe.pretraining_config(directory, seed=seed)  # refuses a wrong seed at once
    _claim(directory, recipe, seed)
    log = StageLog(directory, total=4 + 2 * len(_tasks(recipe)))
    print(f"recipe {recipe.name}: {recipe.duration} on two CPU cores → {directory}", file=sys.stderr)
    split = stages.split_corpus()
    vocabulary = log.run(
        "vocabulary", "train a vocabulary", lambda: stages.vocabulary_stage(split, recipe, directory)
    )
    stores = log.run("stores", "tokenise", lambda: stages.stores_stage(split, recipe, directory))

    def pretrain() -> dict[str, Any]:
        record = stages.training_stage(pretraining_config)
        return record | {"filled": stages.pretraining_samples(pretraining_config)}

    pretraining = log.run("pretrain", "pretrain by span corruption", pretrain)
    tasks = []
    for task, num_labels in _tasks(recipe):
        records = {}
        for pretrained in (True, False):
            config = recipe.finetuning_config(
                directory, task, pretrained=pretrained, num_labels=num_labels, seed=seed
            )
            start = "from the checkpoint" if pretrained else "from scratch"
            labels = f", {num_labels} labels" if num_labels else ""
            records[pretrained] = log.run(
                place(config.run_dir).name,
                f"fine-tune for {task}{labels}, {start}",
                lambda config=config: stages.training_stage(config),
            )
        tasks.append(
            TaskRecord(
                task=task,
                num_labels=num_labels,
                train_examples=num_labels or len(stages.task_pairs(task, split.train)),
                pretrained=records[True],
                scratch=records[False],
                copied=stages.copy_baseline(task, split.heldout, recipe.tasks[task].heldout_examples),
            )
        )
    exported = recipe.finetuning_config(directory, "translation", pretrained=True, seed=seed)
    log.run("export", "export", lambda: stages.export_stage(exported, directory))
    results = summarise(
        recipe,
        seed=seed,
        environment=_environment(log.peak_bytes) | _goodput(place(pretraining_config.run_dir)),
        stages=tuple(log.stages),
        vocabulary=vocabulary,
        stores=stores,
        pretraining=pretraining,
        tasks=tasks,
    )
    write_report(results, directory)
    print("\n" + terminal_table(results))
    print(f"\n{directory / REPORT}")
    return results


def _tasks(recipe: Recipe) -> list[tuple[Task, int | None]]:
    """Return (task, number of labels or None for all) in the order they are trained."""
    return [
        *((task, None) for task in recipe.tasks),
        *(("classification", count) for count in recipe.label_counts),
    ]


def _claim(directory: StoragePath, recipe: Recipe, seed: int) -> None:
    """Mark the directory as this recipe's, or refuse one that is another's."""
    mark = directory / starting_over.MARK
    mine = {"recipe": recipe.name, "settings": _plain(recipe), "seed": seed}
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is a file; choose another --directory")
    if mark.is_file():
        if _read_mark(mark) != mine:
            raise ConfigError(
                f"{directory} holds a quickstart with another recipe, seed or version; choose another one by "
                "--directory, or start over with --overwrite"
            )
    elif directory.exists() and any(directory.iterdir()):
        raise ConfigError(f"{directory} is not empty and not a quickstart's; choose another --directory")
    else:
        write_json(mark, mine)
        lines = [f"{entry.path:<16} {entry.description}" for entry in FILES]
        write_text(directory / "README.txt", "\n".join(["What a t5lite quickstart leaves:", "", *lines, ""]))


def _read_mark(mark: StoragePath) -> Any:
    try:
        return parse_json(mark.read_text(encoding="utf-8"))
    except ValueError:
        return None  # damaged: certainly not this recipe's


def _plain(recipe: Recipe) -> dict[str, Any]:
    return json.loads(json.dumps(vars(recipe), default=vars))


def _environment(peak_bytes: int) -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "peak memory": f"{peak_bytes / 2**30:.1f} GiB",
        "python": platform.python_version(),
        "backend": jax.default_backend(),
        **{name: metadata.version(name) for name in ("jax", "flax", "optax", "orbax-checkpoint", "grain")},
    }


def _goodput(run: StoragePath) -> dict[str, str]:
    attempts, _ = read_attempts(run)
    if not attempts:  # pretrained by a version that kept no ledger
        return {}
    cost = goodput(attempts)
    share = f"{cost.share:.0%} of the pretraining's {cost.total_seconds:,.0f} s in steps that count"
    met = described(Incidents.sum(each.incidents for each in attempts), attempts[-1].left_out_examples)
    return {"goodput": share, **({"incidents": met} if met else {})}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
