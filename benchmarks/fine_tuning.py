"""Pretrained against scratch on the quickstart's two tasks, with one setting of the fine-tuning changed.

2,016 paragraphs and 968 verses are held out, which the pretraining does not read. One stage a call:

    python benchmarks/fine_tuning.py DIRECTORY pretrain [--steps 3500] [--vocabulary-of-split]
    python benchmarks/fine_tuning.py DIRECTORY classification [--from-step 3000] [--steps 50] [--labels 200] …
    python benchmarks/fine_tuning.py DIRECTORY translation [--scratch] [--peak 0.05] [--constant] …

A fine-tuning is trained, and measured on all that is held out, in DIRECTORY/runs/ARGUMENTS; `t5lite compare`
sets two of them side by side. Makes the tables of docs/fine_tuning.md, "When pretraining helps".
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from t5lite.data.prepare import write_pair_store
from t5lite.data.vocabulary import SentencePieceVocabulary
from t5lite.quickstart import corpus, stages
from t5lite.quickstart.recipes import EXTRA_IDS, SIX_MINUTES, Recipe, Task
from t5lite.recipe import AdamWConfig, Constant, InitializeFrom, RunConfig
from t5lite.run_origins import ContinueFrom
from t5lite.runner.evaluation import EvaluationChanges, evaluate
from t5lite.runner.evaluation_records import store_evaluation
from t5lite.runner.training import train

PARAGRAPHS = 0.27
"""Share of the paragraphs that is held out; the quickstart's is 0.08."""
MOST = 10_000
"""More examples than either task has held out."""
CHANGES = ("data", "evaluations", "model", "seed")
"""What is another experiment in a run that keeps the pretraining's optimizer state."""


def pretrain(directory: Path, arguments: argparse.Namespace) -> None:
    """Write vocabulary and stores, and pretrain; the vocabulary is the quickstart's unless of the split."""
    split = corpus.split(corpus.austen(), corpus.verses(), paragraph_fraction=PARAGRAPHS)
    text = split if arguments.vocabulary_of_split else stages.split_corpus()
    stages.vocabulary_stage(text, SIX_MINUTES, directory)
    stages.stores_stage(split, SIX_MINUTES, directory)
    config = SIX_MINUTES.pretraining_config(directory, seed=arguments.seed)
    steps = arguments.steps or config.training.total_steps
    train(
        replace(
            config,
            training=replace(config.training, total_steps=steps, eval_every_steps=600),
            checkpoints=replace(config.checkpoints, save_every_steps=600, keep_every_steps=600),
        )
    )


def finetuning(directory: Path, task: Task, arguments: argparse.Namespace, name: str) -> RunConfig:
    """Return the run of a task from the pretrained checkpoint, or from scratch, with what is changed."""
    changed = {
        "steps": arguments.steps,
        "peak_learning_rate": arguments.peak,
        "dropout_rate": arguments.dropout,
    }
    settings = replace(
        SIX_MINUTES.tasks[task], **{key: value for key, value in changed.items() if value is not None}
    )
    recipe: Recipe = replace(SIX_MINUTES, tasks={task: settings})
    if arguments.labels:
        few = directory / "data" / task / f"train-{arguments.labels}-labels"
        split = corpus.split(corpus.austen(), corpus.verses(), paragraph_fraction=PARAGRAPHS)
        vocabulary = SentencePieceVocabulary(stages.vocabulary_file(directory), EXTRA_IDS)
        write_pair_store(
            stages.task_pairs(task, split.train)[: arguments.labels], vocabulary, few, overwrite=True
        )
    config = recipe.finetuning_config(
        directory, task, pretrained=False, num_labels=arguments.labels, seed=arguments.seed
    )
    # Few examples while it trains; all of them when it has ended.
    heldout = replace(config.evaluations["heldout"], max_examples=128, encoder_use=task == "translation")
    config = replace(config, run_dir=str(directory / "runs" / name), evaluations={"heldout": heldout})
    if arguments.constant:
        constant = Constant(value=settings.peak_learning_rate, warmup_steps=settings.warmup_steps)
        config = replace(config, schedule=constant)
    if arguments.adamw:
        config = replace(config, optimizer=AdamWConfig())
    pretrained = str(directory / "pretrain")
    if arguments.scratch:
        return config
    if arguments.keep_state:
        return replace(
            config,
            continue_from=ContinueFrom(run=pretrained, step=arguments.from_step),
            training=replace(config.training, total_steps=arguments.from_step + settings.steps),
        )
    return replace(
        config, initialize_from=InitializeFrom(run=pretrained, step=arguments.from_step or "newest")
    )


def main(given_arguments: Sequence[str] | None = None) -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("stage", choices=["pretrain", *SIX_MINUTES.tasks])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int)
    parser.add_argument(
        "--vocabulary-of-split", action="store_true", help="its own, of the text it is pretrained on"
    )
    parser.add_argument("--scratch", action="store_true")
    parser.add_argument("--from-step", type=int, help="checkpoint of the pretraining; the newest by default")
    parser.add_argument(
        "--keep-state", action="store_true", help="go on with the optimizer state of --from-step"
    )
    parser.add_argument("--labels", type=int)
    parser.add_argument("--peak", type=float)
    parser.add_argument("--dropout", type=float)
    parser.add_argument("--constant", action="store_true", help="no decay at the end")
    parser.add_argument("--adamw", action="store_true", help="in place of Adafactor")
    arguments = parser.parse_args(given_arguments)
    directory = arguments.directory.absolute()
    if arguments.keep_state and not arguments.from_step:
        parser.error("--keep-state needs --from-step")
    if arguments.stage == "pretrain":
        pretrain(directory, arguments)
        return
    given = {key: value for key, value in vars(arguments).items() if key not in ("directory", "stage")}
    parts = [
        key if value is True else f"{key}-{value}"
        for key, value in given.items()
        if value is not None and value is not False
    ]
    config = finetuning(directory, arguments.stage, arguments, "-".join([arguments.stage, *parts]))
    train(config, allowed=CHANGES if arguments.keep_state else ())
    (measured,) = evaluate(config.run_dir, EvaluationChanges(max_examples=MOST))
    store_evaluation(config.run_dir, measured)
    losses = {
        name: round(measured.metrics[name], 3) for name in ("loss", "encoder_use") if name in measured.metrics
    }
    print(f"{config.run_dir}: {measured.num_examples:,} examples, {losses}")
    for metric, score in measured.scores.items():
        if score.interval:
            print(f"  {metric} {score.value:.2f} [{score.interval.low:.2f}, {score.interval.high:.2f}]")


if __name__ == "__main__":
    main()
