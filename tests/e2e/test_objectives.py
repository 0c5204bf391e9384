"""Every objective trains every architecture it is for, through the real commands, and can be prompted."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from t5lite import run_config
from t5lite.cli.main import main
from t5lite.data.objectives import OBJECTIVES, MaskedLM
from t5lite.data.prepare import write_text_store
from t5lite.data.vocabulary import SentencePieceVocabulary, train_vocabulary
from t5lite.optim import Constant
from t5lite.run_config import EvaluationConfig
from t5lite.runner.training import train
from t5lite.training.metrics_log import read_metrics

HERE = Path(__file__).parent
RECIPES = {
    "encoder_decoder": "tiny_recipe",
    "decoder_only": "tiny_gpt_recipe",
    "encoder_only": "tiny_bert_recipe",
}
CASES = [
    *((name, each, "") for name, kind in OBJECTIVES.items() for each in kind.architectures),
    ("MaskedLM", "encoder_only", "whole_words=True, pack=True"),
    ("MaskedLM", "encoder_only", "next_sentence=True"),
]
STEPS = 16


def write_recipe(path, name, architecture, options):
    path.write_text(
        "import dataclasses, runpy\n"
        "from t5lite.data.objectives import OBJECTIVES\n"
        "from t5lite.optim import AdamWConfig, Constant\n"
        f"make = runpy.run_path({str(HERE / RECIPES[architecture])!r} + '.py')['config']\n"
        "def config():\n"
        "    config = make()\n"
        f"    objective = OBJECTIVES[{name!r}]({options})\n"
        "    model = config.model\n"
        "    if objective.pairs_sentences:\n"
        "        model = dataclasses.replace(model, head='pretraining')\n"
        "    if model.architecture == 'decoder_only':\n"
        "        model = dataclasses.replace(model, prefix_attention='bidirectional')\n"
        "    data = dataclasses.replace(config.data, objective=objective)\n"
        "    optimizer, schedule = AdamWConfig(), Constant(value=1e-2)\n"
        "    return dataclasses.replace(\n"
        "        config, model=model, data=data, optimizer=optimizer, schedule=schedule)\n",
        encoding="utf-8",
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "architecture", "options"), CASES)
def test_it_trains_evaluates_and_is_prompted(name, architecture, options, text_data, tmp_path, capsys):
    recipe, run = tmp_path / "recipe.py", tmp_path / "run"
    write_recipe(recipe, name, architecture, options)
    arguments = [
        *("train", "--config", str(recipe), "--run-dir", str(run)),
        *(
            "--data.store",
            str(text_data / "train"),
            "--evaluations.heldout.store",
            str(text_data / "heldout"),
        ),
        *("--training.total-steps", str(STEPS), "--training.eval-every-steps", "None"),
    ]
    assert main(arguments) == 0
    losses = [entry["loss"] for entry in read_metrics(run / "metrics.jsonl") if entry["kind"] == "train"]
    assert len(losses) == STEPS
    assert sum(losses[-4:]) / 4 < losses[0] - 0.5
    assert main(["evaluate", "--run", str(run)]) == 0
    capsys.readouterr()
    text = "[S] She was" if name == "Ul2" else "She was [MASK] to" if name == "MaskedLM" else "She was"
    assert main(["generate", "--run", str(run), "--text", text, "--max-decode-length", "4"]) == 0
    for line in capsys.readouterr().err.splitlines():
        assert re.match(r"t5lite generate: (compiling for 1 |1 of 1 outputs stop at 4 tokens )", line), line


@pytest.mark.slow
def test_next_sentence_is_learnt_where_documents_differ(tmp_path):
    """Every document has words of one of ten lexicons, so that a random B shows."""
    generator = random.Random(0)
    syllables = ["ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "za"]
    lexicons = [[first + generator.choice(syllables) for _ in range(4)] for first in syllables]
    documents = [" ".join(generator.choices(lexicons[number % 10], k=30)) for number in range(800)]
    generator.shuffle(documents)
    train_vocabulary(documents, tmp_path / "spiece.model", size=50)
    vocabulary = SentencePieceVocabulary(tmp_path / "spiece.model", extra_ids=4)
    write_text_store(documents[:700], vocabulary, tmp_path / "train")
    write_text_store(documents[700:], vocabulary, tmp_path / "heldout")
    config = run_config.load(HERE / "tiny_bert_recipe.py")
    objective = MaskedLM(next_sentence=True)
    config = replace(
        config,
        run_dir=str(tmp_path / "run"),
        model=replace(config.model, vocab_size=128, head="pretraining"),
        data=replace(config.data, store=str(tmp_path / "train"), inputs_length=24, objective=objective),
        schedule=Constant(value=3e-3),
        training=replace(config.training, total_steps=240, batch_size=32, eval_every_steps=240),
        evaluations={
            "heldout": EvaluationConfig(store=str(tmp_path / "heldout"), max_examples=96, batch_size=32)
        },
    )
    assert train(config).metrics["heldout"]["sequence_accuracy"] > 0.65
