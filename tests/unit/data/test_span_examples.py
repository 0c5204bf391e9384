"""Questions and windows of contexts: an answer is pointed at, and read off the context again."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples.context_tokens import ContextTokens, windows
from t5lite.data.examples.span_examples import SpanExamples, SpansDataConfig
from t5lite.data.pipeline import Pipeline, open_pipeline
from t5lite.data.stores.pair_store import PairStoreWriter
from t5lite.data.vocabulary import ByteVocabulary, Vocabulary, open_vocabulary
from tests.small_tokenizers import write_roberta

BYTES = ByteVocabulary()


def opened(path, rows: list[tuple[str, str, list[tuple[int, int]]]], **options: Any) -> Pipeline:
    vocabulary: Vocabulary = options.pop("vocabulary", BYTES)
    with PairStoreWriter(path, vocabulary=vocabulary, has_labels=True) as writer:
        for question, context, answers in rows:
            label = {"question": question, "context": context, "answers": answers}
            writer.add_batch([(vocabulary.encode(f"{question} {context}"), vocabulary.encode("x"))])
            writer.add_labels([json.dumps(label, ensure_ascii=False)])
    config = SpansDataConfig(store=str(path), **{"inputs_length": 32, **options})
    return open_pipeline(config, architecture="encoder_only", shuffle=False)


def pointed_at(pipeline: Pipeline, *, strength: float = 9.0) -> list[tuple[int, str]]:
    """Return the predictions of a model that points where the labels say."""
    assert isinstance(pipeline.answered, SpanExamples)
    found = []
    for index in pipeline.evaluated(None).tolist():
        row = pipeline.example(index)
        span = np.zeros((2, len(row["encoder_input_tokens"])), np.float32)
        span[[0, 1], row["span_positions"]] = strength
        found.append((index, {"span": span}))
    return sorted(pipeline.answered.predictions(found))


ROWS = [
    ("where", "Ada went to Łódź by train, and nobody saw her there again until May.", [(12, 16)]),
    ("when", "Ada went to Łódź by train, and nobody saw her there again until May.", [(64, 67), (58, 67)]),
    ("why", "Nobody says.", []),
]


def test_answers_are_pointed_at_and_read_off_the_context(tmp_path):
    pipeline = opened(tmp_path / "store", ROWS)
    assert pointed_at(pipeline) == [(0, "Łódź"), (1, "May"), (2, "")]
    assert pipeline.answered is not None
    described = pipeline.answered.described(1)
    assert (described.reference, described.other_references) == ("May", ("until May",))
    assert pipeline.answered.described(2).reference == ""
    assert {name: count for name, count in pipeline.report.items() if name != "density"} == {
        "pairs": 3,
        "examples": pipeline.num_examples,
        "truncated": 0,
        "dropped": 0,
        "questions": 3,
        "questions_unanswered": 1,
        "answers_unseen": 0,
        "answers_too_long": 0,
        "answers_widened": 0,
    }


def test_a_row_is_question_and_window_with_types_of_their_own(tmp_path):
    pipeline = opened(tmp_path / "store", ROWS)
    row, question = pipeline.example(0), BYTES.encode("where").tolist()
    cls, sep = int(row["encoder_input_tokens"][0]), BYTES.eos_id
    window = BYTES.encode(ROWS[0][1])[: 32 - 3 - len(question)].tolist()
    assert row["encoder_input_tokens"].tolist() == [cls, *question, sep, *window, sep]
    assert row["encoder_token_types"].tolist() == [0] * 7 + [1] * 25
    first, last = row["span_positions"].tolist()
    assert bytes(token - 3 for token in row["encoder_input_tokens"][first : last + 1]) == "Łódź".encode()
    last_row = pipeline.example(pipeline.num_examples - 1)
    assert last_row["span_positions"].tolist() == [0, 0]
    assert last_row["encoder_segment_ids"].tolist() == [1] * 18 + [0] * 14
    plain = opened(tmp_path / "plain", ROWS, token_types=False)
    assert "encoder_token_types" not in plain.example(0)


def test_what_no_row_has_as_a_whole_is_counted(tmp_path):
    rows = [("q" * 40, "a bcdefghijklmnopqrstuvwxyz e", [(2, 27)]), ("q", "x", [(0, 1)])]
    pipeline = opened(tmp_path / "store", rows, max_answer_length=24)
    assert {key: pipeline.report[key] for key in ("truncated", "answers_unseen", "answers_too_long")} == {
        "truncated": 1,
        "answers_unseen": 1,
        "answers_too_long": 1,
    }
    assert opened(tmp_path / "whole", rows, max_answer_length=25).report["answers_too_long"] == 0
    assert pipeline.answered is not None
    assert pipeline.answered.described(0).input_cut
    dropped = opened(tmp_path / "dropped", rows, overlong="drop")
    assert (dropped.num_examples, dropped.report["dropped"]) == (1, 1)


@pytest.mark.parametrize(("num_tokens", "kept"), [(26, 26), (30, 26)])
def test_a_question_has_what_its_context_leaves(num_tokens, kept, tmp_path):
    pipeline = opened(tmp_path / "store", [("q" * num_tokens, "abc", [(0, 3)])])
    question = BYTES.encode("q" * kept).tolist()
    assert pipeline.num_examples == 1
    assert pipeline.example(0)["encoder_input_tokens"].tolist()[1 : kept + 1] == question
    assert pipeline.report["truncated"] == (kept < num_tokens)
    assert pointed_at(pipeline) == [(0, "abc")]


def test_what_separates_question_and_context_is_the_tokenizers_own(tmp_path):
    """RoBERTa's rules put ``</s>`` there twice."""
    context = "Ada went by train"
    folder = write_roberta(tmp_path / "roberta", [context])
    pipeline = opened(
        tmp_path / "store",
        [("where", context, [(12, 17)])],
        vocabulary=open_vocabulary(folder),
        token_types=False,
    )
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("where", context).ids
    assert ids.count(2) == 3
    assert pipeline.example(0)["encoder_input_tokens"].tolist() == ids + [0] * (32 - len(ids))
    assert pipeline.report["density"] == len(ids) / 32
    assert pointed_at(pipeline) == [(0, "train")]


def test_an_evaluation_of_so_many_has_all_windows_of_so_many_questions(tmp_path):
    pipeline = opened(tmp_path / "store", [(f"q{n}", "word " * (2 + 5 * n), []) for n in range(8)])
    assert pipeline.num_examples > 30
    assert len(pipeline.evaluated(None)) == pipeline.num_examples
    every = {number: len(list(indices)) for number, indices in _by_question(pipeline, None).items()}
    few = {number: len(list(indices)) for number, indices in _by_question(pipeline, 3).items()}
    assert len(few) == 3
    assert few.items() <= every.items()


def _by_question(pipeline: Pipeline, max_examples: int | None) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for index in pipeline.evaluated(max_examples).tolist():
        row = pipeline.example(index)
        found.setdefault(int(row["encoder_input_tokens"][2]), []).append(index)
    return found


@given(num_tokens=st.integers(0, 60), room=st.integers(1, 20), data=st.data())
def test_windows_hold_every_token_and_overlap_as_said(num_tokens, room, data):
    stride = data.draw(st.integers(1, room))
    found = list(windows(num_tokens, room=room, stride=stride))
    assert {token for first, stop in found for token in range(first, stop)} == set(range(num_tokens))
    assert all(0 <= stop - first <= room for first, stop in found)
    assert [first for first, _ in found] == [stride * place for place in range(len(found))]
    assert found[-1][1] == num_tokens
    assert all(stop < num_tokens for _, stop in found[:-1])
    length = room - stride + 1
    for begin in range(num_tokens - length + 1):
        assert any(first <= begin and begin + length <= stop for first, stop in found)


TEXT = st.text(
    st.sampled_from("abe ½ﬁ㈱é\u0301\u200b 語😀.") | st.characters(exclude_categories=("Cs",)), max_size=30
)


@given(text=TEXT, data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_tokens_of_an_answer_read_it_off_the_text(vocabulary, text, data):
    """With bytes exactly; with pieces, the first and the last of which may have more, all of it."""
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    answer = text[begin:end]
    if not answer or answer != answer.strip():
        return
    span = ContextTokens.of(text, BYTES).covering(begin, end)
    assert span is not None
    assert ContextTokens.of(text, BYTES).between(*span) == answer
    pieces = ContextTokens.of(text, vocabulary)
    if (span := pieces.covering(begin, end)) is not None:
        first, last = span
        assert pieces.begins[first] <= begin or not len(vocabulary.encode(text[: pieces.begins[first]]))
        assert pieces.ends[last] >= end
        assert pieces.ends[first] > begin
        assert pieces.begins[last] < end


def test_what_cannot_be_is_refused_with_a_remedy(tmp_path):
    for options, message in (
        ({"inputs_length": 4}, "inputs_length=4 must be at least 5"),
        ({"doc_stride": 0}, "doc_stride=0 must be at least 1"),
        ({"max_answer_length": 0}, "max_answer_length=0 must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            SpansDataConfig(store="nowhere", **options)
    with pytest.raises(DataError, match=r"none of the 1 questions .* fits inputs_length=8 with its context"):
        opened(tmp_path / "short", ROWS[:1], inputs_length=8, overlong="drop")
    with PairStoreWriter(tmp_path / "pairs", vocabulary=BYTES) as writer:
        writer.add_batch([(BYTES.encode("a"), BYTES.encode("b"))])
    with pytest.raises(DataError, match=r"keeps no places of answers.*--task answer-spans"):
        open_pipeline(SpansDataConfig(store=str(tmp_path / "pairs")), architecture="encoder_only")
