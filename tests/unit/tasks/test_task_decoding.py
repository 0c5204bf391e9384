"""A task says how what it scores is written, by the options of generate; without, nothing of it changes."""

import json
from types import SimpleNamespace

import pytest

from t5lite.core.errors import ConfigError
from t5lite.decoding import GREEDY, Beam, DecodingConfig, Sampling
from t5lite.tasks import TASKS
from t5lite.tasks.decoding import task_decoding
from t5lite.tasks.opening import kept_task, open_task, to_json
from t5lite.tasks.recipes import with_task
from t5lite.tasks.task import Task

BEAMS = {"strategy": "beam", "num_beams": 2, "early_stopping": "true", "no_repeat_ngram_size": 3}


def test_a_file_and_a_run_keep_a_task_s_decoding(tmp_path):
    task, file = Task(name="mine", decoding=BEAMS), tmp_path / "mine.json"
    file.write_text(json.dumps(to_json(task)))
    assert open_task(str(file)) == open_task(kept_task(str(file))) == task
    assert task_decoding(task) == DecodingConfig(
        strategy=Beam(num_beams=2, early_stopping=True), no_repeat_ngram_size=3
    )
    drawn = Task(name="mine", decoding={"strategy": "sampling", "seed": 7, "stop_strings": ["."]})
    assert task_decoding(drawn) == DecodingConfig(strategy=Sampling(seed=7), stop_strings=(".",))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_without_is_the_text_that_it_was_and_greedy(name):
    assert "decoding" not in to_json(TASKS[name])
    assert task_decoding(TASKS[name]) == GREEDY


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        ({"num_baems": 2}, "unknown field 'num_baems'; did you mean 'num_beams'"),
        ({"strategy": "beams"}, "strategy: unknown value 'beams'; did you mean 'beam'"),
        ({"strategy": "beam", "num_beams": "2"}, "num_beams: .*'2'"),
        ({"num_beams": 2}, "num-beams is no option of strategy greedy; .* --strategy beam"),
        ({"strategy": "beam", "num_beams": 0}, "num_beams=0 must be 1 or more"),
        ({"strategy": "beam", "num_return_sequences": 2}, "one text of an input is scored: leave them out"),
        ({"log_probs": True}, "one text of an input is scored: leave them out"),
    ],
    ids=str,
)
def test_what_is_no_decoding_of_scored_text_is_refused_by_name(decoding, message):
    with pytest.raises(ConfigError, match=f"decoding of the task mine: .*{message}"):
        task_decoding(Task(name="mine", decoding=decoding))


def test_an_encoder_that_writes_nothing_refuses_a_decoding():
    encoder = SimpleNamespace(model=SimpleNamespace(writes=False))
    with pytest.raises(ConfigError, match="mine has a decoding, and an encoder-only model writes no text"):
        with_task(encoder, json.dumps({"name": "mine", "decoding": BEAMS}))
