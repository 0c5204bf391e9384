"""Runs in EleutherAI's lm-evaluation-harness: by their exports, and as its own kind of model, alike."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from lm_eval.api.instance import Instance

from t5lite.cli.main import main
from t5lite.core.errors import ConfigError, DataError
from t5lite.data.stores.token_store import TokenStoreWriter
from t5lite.data.vocabulary import ByteVocabulary, Frame
from t5lite.harness.language_model import RunLM
from t5lite.harness.tokens import HarnessTokens
from t5lite.harness.written_requests import WrittenRequests
from t5lite.quickstart import corpus
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot
from tests.parity.test_hundred_texts import FAMILIES, Theirs
from tests.parity.test_texts_of_imported_models import make_folder

LENGTH = 64
TASKS = {
    "next_words": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{begin}}",
        "doc_to_choice": "{{endings}}",
        "doc_to_target": "right",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "whole_text": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
    "written": {
        "output_type": "generate_until",
        "doc_to_text": "{{begin}}",
        "doc_to_target": "{{endings[0]}}",
        "generation_kwargs": {"until": ["the", "\n\n"], "max_gen_toks": 12},
        "metric_list": [{"metric": "exact_match"}],
    },
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real paragraphs: which words follow, how probable the text is, what is written."""
    folder = tmp_path_factory.mktemp("tasks")
    texts = [" ".join(paragraph.text.split()[:24]) for paragraph in corpus.austen()[:9]]
    texts[4] = " ".join(paragraph.text for paragraph in corpus.austen()[:4])  # longer than the models
    with open(folder / "austen.jsonl", "w", encoding="utf-8") as lines:
        for number, text in enumerate(texts):
            words = text.split()
            others = [" " + " ".join(texts[(number + n) % 4].split()[-3:]) for n in (1, 2)]
            endings = [" " + " ".join(words[-3:]), *others]
            begin = "" if number == 0 else " ".join(words[:-3])
            lines.write(json.dumps({"begin": begin, "endings": endings, "right": 0, "text": text}) + "\n")
    for name in TASKS:
        write_task(name, folder / "austen.jsonl")
    return folder


def write_task(name: str, rows: Path) -> None:
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": str(rows)}}
    content = {"task": name, **data, "test_split": "train", **TASKS[name]}  # JSON is YAML
    rows.with_name(f"{name}.yaml").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of a model whose tokenizer puts BOS before a text, and its export."""
    folder = tmp_path_factory.mktemp("llama")
    make_folder("LlamaForCausalLM", folder / "hf")
    assert main(["import", "--from", str(folder / "hf"), "--output", str(folder / "run")]) == 0
    assert main(["export", "--run", str(folder / "run"), "--output", str(folder / "exported")]) == 0
    return folder / "run", folder / "exported"


def figures(model: Any, tasks: Path, names: list[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the metrics, and what the model answered to each request."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    found = simple_evaluate(model, tasks=names, task_manager=manager, bootstrap_iters=0)
    assert found is not None
    samples = {name: [each["resps"] for each in found["samples"][name]] for name in names}
    return found["results"], samples


def hf_model(exported: Path, backend: str) -> Any:
    from lm_eval.models.huggingface import HFLM

    kinds = {"seq2seq": transformers.AutoModelForSeq2SeqLM, "causal": transformers.AutoModelForCausalLM}
    model = kinds[backend].from_pretrained(exported)
    model.config.tie_word_embeddings = False  # as docs/downstream.md says
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    return HFLM(
        pretrained=model, tokenizer=tokenizer, backend=backend, batch_size=4, max_length=LENGTH, device="cpu"
    )


def bare(text: str) -> str:
    """What differs by the tokenizer's library: white space beside sentinels, names of special tokens."""
    return "".join(text.replace("<|end_of_text|>", "").split())


def flat(responses: Any) -> list[Any]:
    if isinstance(responses, list | tuple):
        return [item for each in responses for item in flat(each)]
    return [responses]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("backend", ["seq2seq", "causal"])
def test_a_run_and_its_export_have_the_same_figures(backend, tasks, request, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tasks / "cache"))
    if backend == "seq2seq":
        run, exported = (request.getfixturevalue(name) for name in ("pretrained", "exported"))
    else:
        run, exported = request.getfixturevalue("llama")
    ours, our_answers = figures(RunLM(str(run), batch_size=4, max_length=LENGTH), tasks, list(TASKS))
    theirs, their_answers = figures(hf_model(exported, backend), tasks, list(TASKS))
    mine, other = (list(map(bare, flat(each["written"]))) for each in (our_answers, their_answers))
    assert mine == other
    for name in ("next_words", "whole_text"):
        mine, other = flat(our_answers[name]), flat(their_answers[name])
        assert [each for each in mine if isinstance(each, bool)] == [x for x in other if isinstance(x, bool)]
        assert mine == pytest.approx(other, rel=1e-4)
    for name in TASKS:
        assert {k: v for k, v in ours[name].items() if isinstance(v, float)} == pytest.approx(
            {k: v for k, v in theirs[name].items() if isinstance(v, float)}, rel=1e-4
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_bits_per_byte_are_the_harness_own(tmp_path, monkeypatch):
    """Of a text behind EOS, as both begin it, in windows that see the last token of the one before."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    run, store, rows = tmp_path / "run", tmp_path / "store", tmp_path / "tasks" / "verses.jsonl"
    Theirs(FAMILIES["qwen2"], tmp_path / "hf")
    assert main(["import", "--from", str(tmp_path / "hf"), "--output", str(run)]) == 0
    vocabulary = Snapshot(RunDirectory.at(run)).vocabulary
    words = " ".join(verse.spanish for verse in corpus.verses()[:40]).split()
    texts = (" ".join(words[:count]) for count in range(100, len(words)))
    text = next(text for text in texts if len(vocabulary.encode(text)) % LENGTH == 0)  # a rest is left out
    with TokenStoreWriter(store, vocabulary=vocabulary) as writer:
        writer.add_batch([np.append(vocabulary.eos_id, vocabulary.encode(text))])
    assert main(["evaluate", "--run", str(run), "--store", str(store), "--inputs-length", str(LENGTH)]) == 0
    record = json.loads((run / "evaluation.json").read_text())
    rows.parent.mkdir()
    rows.write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
    write_task("whole_text", rows)
    model = RunLM(str(run), batch_size=4, max_length=LENGTH)
    found, _ = figures(model, rows.parent, ["whole_text"])
    assert len(text.encode()) > len(text)
    assert record["num_examples"] > 2
    assert record["metrics"]["bits_per_byte"] == pytest.approx(
        found["whole_text"]["bits_per_byte,none"], rel=1e-5
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_command_is_the_harness_own_with_runs_among_its_models(
    llama, tasks, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tasks / "cache"))
    given = list(sys.argv)
    words = [
        "--model",
        "t5lite",
        "--model_args",
        f"run={llama[0]}",
        "--tasks",
        "next_words",
        "--batch_size",
        "4",
    ]
    assert main(["harness", "run", *words, "--include_path", str(tasks)]) == 0
    assert re.search(r"next_words.*\|acc +\|", capsys.readouterr().out)
    assert sys.argv == given


def ask(kind: str, *arguments: Any) -> list[Instance]:
    return [Instance(kind, {}, arguments, 0)]


@pytest.mark.slow
def test_what_the_harness_cannot_be_answered_is_said_before_anything_is_computed(llama):
    model = RunLM(str(llama[0]), batch_size="auto", max_length=LENGTH)
    with pytest.raises(DataError, match="the task has an empty choice"):
        model.loglikelihood(ask("loglikelihood", "a", ""))
    with pytest.raises(DataError, match="the model has room for 64"):
        model.loglikelihood(ask("loglikelihood", "", "word " * 400))
    with pytest.raises(ConfigError, match=r"\{'num_beams': 4\} of the task are not known here"):
        model.generate_until(ask("generate_until", "a", {"num_beams": 4}))
    with pytest.raises(ConfigError, match=r"max_gen_toks=64 leaves no room .* --gen_kwargs max_gen_toks=32"):
        model.generate_until(ask("generate_until", "a", {"max_gen_toks": 64}))
    assert model.batch_size == 16


SAMPLED = {"do_sample": True, "temperature": 0.7, "max_gen_toks": 4, "until": ["\n"]}


@pytest.fixture
def written():
    tokens = HarnessTokens(ByteVocabulary(extra_ids=0), Frame())
    return WrittenRequests(tokens, max_length=12, shares_row=True)


def test_samples_of_one_context_differ_and_are_the_same_each_time(written):
    given = [("a", SAMPLED), ("b", SAMPLED), ("a", SAMPLED), ("a", SAMPLED)]
    seeds = [each.seed for each in written.wanted(given)]
    assert len(set(seeds)) == 4
    assert seeds == [each.seed for each in written.wanted(given)]
    assert written.wanted(given[1:])[0].seed == seeds[1]
    beside = [("a", {**SAMPLED, "until": ["."]}), *given]  # of another task
    assert [each.seed for each in written.wanted(beside)[1:]] == seeds


def test_contexts_that_lose_their_beginning_are_counted_once(written, caplog):
    wanted = written.wanted([("x" * 9 + "end", SAMPLED), ("fits", SAMPLED), ("0123456789", SAMPLED)])
    assert [len(each.row.ids) for each in wanted] == [8, 4, 8]
    assert written.tokens.vocabulary.decode(wanted[0].row.ids) == "xxxxxend"
    (said,) = caplog.messages
    assert "2 of 3 contexts lose their beginning" in said
    assert "max_length=12" in said
