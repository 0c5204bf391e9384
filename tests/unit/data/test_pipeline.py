import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.objectives.span_corruption import SpanCorruption
from t5lite.data.pipeline import evaluation_indices, open_pipeline
from t5lite.data.prepare import write_text_store
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import SentencePieceVocabulary


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        assert a[name].dtype == b[name].dtype


def rebuild(batch, row, vocabulary):
    """Undo span corruption of a row."""
    hidden, sentinel = {}, None
    for token in batch["decoder_target_tokens"][row].tolist():
        if token in vocabulary.sentinel_ids:
            sentinel = token
            hidden[sentinel] = []
        elif token != vocabulary.eos_id:
            hidden[sentinel].append(token)
    inputs = batch["encoder_input_tokens"][row].tolist()[:-1]
    return tuple(itertools.chain.from_iterable(hidden.get(token, [token]) for token in inputs))


@pytest.fixture(scope="module")
def config(text_store):
    return PretrainingDataConfig(store=str(text_store), inputs_length=32)


@pytest.fixture(scope="module")
def pipeline(config):
    return open_pipeline(config, seed=5)


@pytest.fixture(scope="module")
def chunks(text_store, pipeline):
    store = TokenStore.open(text_store)
    raw = SpanCorruption().chunk_length(32)[0]
    stream = store.tokens(0, raw * pipeline.num_examples).reshape(-1, raw)
    assert 0 <= store.num_tokens - stream.size < raw
    return [tuple(chunk.tolist()) for chunk in stream]


def test_fields(pipeline):
    batch = pipeline.batch(0, batch_size=6)
    assert {name: field.shape for name, field in batch.items()} == {
        "encoder_input_tokens": (6, 32),
        "decoder_input_tokens": (6, pipeline.decoder_length),
        "decoder_target_tokens": (6, pipeline.decoder_length),
        "decoder_loss_weights": (6, pipeline.decoder_length),
    }
    assert (batch["decoder_input_tokens"][:, 0] == 0).all()
    np.testing.assert_array_equal(
        batch["decoder_input_tokens"][:, 1:], batch["decoder_target_tokens"][:, :-1]
    )
    assert batch["decoder_loss_weights"].dtype == np.float32
    assert (batch["decoder_loss_weights"] == 1).all()
    assert (batch["encoder_input_tokens"] != 0).all()


def test_every_epoch_sees_every_chunk_once_in_another_order_and_noise(pipeline, chunks):
    size = pipeline.num_examples
    epochs = [pipeline.batch(epoch * size, batch_size=size) for epoch in range(2)]
    orders = [[rebuild(epoch, row, pipeline.vocabulary) for row in range(size)] for epoch in epochs]
    for order in orders:
        assert Counter(order) == Counter(chunks)
    assert orders[0] != orders[1]
    where = {chunk: row for row, chunk in enumerate(orders[1])}
    same_noise = sum(
        np.array_equal(
            epochs[0]["encoder_input_tokens"][row], epochs[1]["encoder_input_tokens"][where[chunk]]
        )
        for row, chunk in enumerate(orders[0])
    )
    assert same_noise < size / 4


@settings(deadline=None, max_examples=25)
@given(start=st.integers(0, 10**10), batch_size=st.integers(1, 12), cut=st.data())
def test_hosts_rows_are_slices_of_the_global_batch(pipeline, start, batch_size, cut):
    whole = pipeline.batch(start, batch_size=batch_size)
    first = cut.draw(st.integers(0, batch_size - 1))
    last = cut.draw(st.integers(first + 1, batch_size))
    part = pipeline.batch(start, batch_size=batch_size, rows=slice(first, last))
    assert_same(part, {name: field[first:last] for name, field in whole.items()})


def test_two_hosts_make_the_batch_of_one(pipeline):
    whole = pipeline.batches(batch_size=8, num_steps=3)
    halves = [pipeline.batches(batch_size=8, num_steps=3, rows=rows) for rows in (slice(0, 4), slice(4, 8))]
    for one, left, right in zip(whole, *halves, strict=True):
        assert_same(one, {name: np.concatenate([left[name], right[name]]) for name in one})


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 2])
def test_worker_processes_do_not_change_the_stream(pipeline, num_workers):
    options = {"batch_size": 4, "start": 28, "rows": slice(1, 3), "num_steps": 5}
    expected = list(pipeline.batches(**options))
    received = list(pipeline.batches(**options, num_workers=num_workers))
    assert len(received) == len(expected) == 5
    for a, b in zip(received, expected, strict=True):
        assert_same(a, b)
    assert_same(expected[2], pipeline.batch(36, batch_size=4, rows=slice(1, 3)))


WORKERS = """
import multiprocessing, signal, sys, time
from t5lite.data.pipeline import open_pipeline
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig

stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
pipeline = open_pipeline(PretrainingDataConfig(store=sys.argv[1], inputs_length=32))
batches = pipeline.batches(batch_size=4, num_workers=2)
next(batches), next(batches)  # one of each worker
print("running", flush=True)
while not stopped:
    time.sleep(0.01)
for _ in range(50):
    next(batches)
workers = multiprocessing.active_children()
begin = time.monotonic()
batches.close()
print(len(workers), len(multiprocessing.active_children()), time.monotonic() - begin < 10)
"""


@pytest.fixture
def with_workers(text_store):
    """A process in a group of its own that has got a batch of each of its two workers."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKERS, str(text_store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_workers_outlive_a_sigterm_to_the_group_until_they_are_closed(with_workers):
    os.killpg(with_workers.pid, signal.SIGTERM)
    output, _ = with_workers.communicate(timeout=60)
    assert output == "2 0 True\n"
    assert with_workers.returncode == 0


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(with_workers):
    with_workers.kill()
    with_workers.communicate(timeout=20)  # the end of its output, which the workers hold open too


@pytest.mark.slow
def test_damage_found_by_a_worker_is_a_data_error(tmp_path, vocabulary, prose):
    write_text_store(prose(50, seed=1), vocabulary, tmp_path / "store")
    pipeline = open_pipeline(PretrainingDataConfig(store=str(tmp_path / "store"), inputs_length=32))
    path = tmp_path / "store" / "tokens-00000.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(DataError, match=r"tokens-00000\.bin does not match its CRC-32"):
        next(iter(pipeline.batches(batch_size=2, num_workers=1)))


def test_seed_changes_order_and_noise_and_reopening_does_not(config, pipeline):
    batch = pipeline.batch(12, batch_size=4)
    assert_same(batch, open_pipeline(config, seed=5).batch(12, batch_size=4))
    other = open_pipeline(config, seed=6).batch(12, batch_size=4)
    assert (other["encoder_input_tokens"] != batch["encoder_input_tokens"]).any()


def test_targets_start_with_the_id_that_the_decoder_starts_with(config, pipeline):
    batch = open_pipeline(config, seed=5, start_id=7).batch(12, batch_size=4)
    assert (batch["decoder_input_tokens"][:, 0] == 7).all()
    batch["decoder_input_tokens"][:, 0] = 0
    assert_same(batch, pipeline.batch(12, batch_size=4))


def test_without_shuffling_chunks_come_in_order(config, chunks):
    pipeline = open_pipeline(config, shuffle=False)
    batch = pipeline.batch(3, batch_size=3)
    assert [rebuild(batch, row, pipeline.vocabulary) for row in range(3)] == chunks[3:6]


def test_batch_larger_than_the_data_repeats_it(pipeline, chunks):
    size = pipeline.num_examples * 2 + 1
    batch = pipeline.batch(0, batch_size=size)
    counts = Counter(rebuild(batch, row, pipeline.vocabulary) for row in range(size))
    assert sum(counts.values()) == size
    assert set(counts) == set(chunks)
    assert all(counts[chunk] in (2 * chunks.count(chunk), 2 * chunks.count(chunk) + 1) for chunk in counts)


def test_max_epochs_ends_the_stream(text_store):
    config = PretrainingDataConfig(store=str(text_store), inputs_length=32, max_epochs=2)
    pipeline = open_pipeline(config)
    steps = 2 * pipeline.num_examples // 7
    assert pipeline.num_steps(7) == steps
    assert len(list(pipeline.batches(batch_size=7))) == steps
    assert len(list(pipeline.batches(batch_size=7, start=7 * (steps - 1), num_steps=9))) == 1
    with pytest.raises(DataError, match=f"{7 * steps} to {7 * steps + 6} does not exist: max_epochs=2"):
        pipeline.batch(7 * steps, batch_size=7)


def test_eval_batches_are_one_pass_with_weightless_filling(config, pipeline, chunks):
    size = 9
    assert pipeline.num_examples % size
    batches = list(pipeline.eval_batches(size))
    assert len(batches) == -(-pipeline.num_examples // size)
    assert {batch["encoder_input_tokens"].shape for batch in batches} == {(size, 32)}
    weights = np.concatenate([batch["decoder_loss_weights"] for batch in batches])
    assert (weights[: len(chunks)] == 1).all()
    assert (weights[len(chunks) :] == 0).all()
    seen = [rebuild(batch, row, pipeline.vocabulary) for batch in batches for row in range(size)]
    assert seen[: len(chunks)] == [chunks[i] for i in evaluation_indices(len(chunks), None)]
    for batch, part in zip(batches, pipeline.eval_batches(size, slice(2, 5)), strict=True):
        assert_same(part, {name: field[2:5] for name, field in batch.items()})


def test_limited_evaluation_is_spread_evenly(pipeline):
    assert sorted(evaluation_indices(10, None)) == list(range(10))
    assert sorted(evaluation_indices(10, 20)) == list(range(10))
    assert sorted(evaluation_indices(10, 4)) == [0, 2, 5, 7]
    batches = list(pipeline.eval_batches(4, max_examples=6))
    assert len(batches) == 2
    assert batches[1]["decoder_loss_weights"].any(axis=1).tolist() == [True, True, False, False]
    for row, index in enumerate(evaluation_indices(pipeline.num_examples, 6)[:4].tolist()):
        tokens = pipeline.example(index)["encoder_input_tokens"]
        np.testing.assert_array_equal(batches[0]["encoder_input_tokens"][row], tokens)


def test_neighbours_in_an_evaluation_are_not_neighbours_in_the_text():
    """Encoder use swaps neighbours, which must not be two paragraphs of one book."""
    indices = evaluation_indices(10_000, 1000)
    assert np.abs(np.diff(indices)).mean() > 2000
    assert indices.tolist() == evaluation_indices(10_000, 1000).tolist()


def test_evaluation_noise_depends_on_the_example_only(config, pipeline):
    batches = open_pipeline(config, seed=99).eval_batches(4)
    tokens = np.concatenate([batch["encoder_input_tokens"] for batch in batches])
    for row, index in enumerate(evaluation_indices(pipeline.num_examples, None).tolist()):
        np.testing.assert_array_equal(pipeline.example(index)["encoder_input_tokens"], tokens[row])
    with pytest.raises(IndexError):
        pipeline.example(pipeline.num_examples)


def test_one_chunk_is_enough_and_less_is_refused(tmp_path, vocabulary):
    write_text_store(["bake limo"], vocabulary, tmp_path / "tiny")
    tokens = TokenStore.open(tmp_path / "tiny").num_tokens
    with pytest.raises(DataError, match=f"has {tokens} tokens, one chunk for inputs_length=512 needs 568"):
        open_pipeline(PretrainingDataConfig(store=str(tmp_path / "tiny")))
    write_text_store(["bake limo nuraseti"] * 4, vocabulary, tmp_path / "small")
    raw = TokenStore.open(tmp_path / "small").num_tokens
    inputs_length = SpanCorruption().lengths(raw)[0]
    pipeline = open_pipeline(
        PretrainingDataConfig(store=str(tmp_path / "small"), inputs_length=inputs_length)
    )
    assert pipeline.num_examples == 1
    assert pipeline.batch(12, batch_size=3)["encoder_input_tokens"].shape == (3, inputs_length)


def test_too_few_sentinels(tmp_path, vocabulary, prose):
    few = SentencePieceVocabulary(vocabulary.path, extra_ids=2)
    write_text_store(prose(20, seed=0), few, tmp_path / "store")
    with pytest.raises(ConfigError, match="uses 3 sentinels, the vocabulary has extra_ids=2"):
        open_pipeline(PretrainingDataConfig(store=str(tmp_path / "store"), inputs_length=64))


def test_wrong_settings(config, pipeline, text_store):
    with pytest.raises(ConfigError, match="max_epochs=0"):
        PretrainingDataConfig(store="x", max_epochs=0)
    with pytest.raises(ConfigError, match="inputs_length=1 cannot"):
        PretrainingDataConfig(store="x", inputs_length=1)
    with pytest.raises(ConfigError, match="seed=-1"):
        open_pipeline(config, seed=-1)
    with pytest.raises(ConfigError, match="batch_size=0"):
        pipeline.batch(0, batch_size=0)
    with pytest.raises(ValueError, match="no contiguous"):
        pipeline.batch(0, batch_size=4, rows=slice(2, 6))
    with pytest.raises(DataError, match="another vocabulary"):
        open_pipeline(config, vocabulary_fingerprint="0" * 64)
    with pytest.raises(DataError, match="is not a pair store"):
        open_pipeline(PairsDataConfig(store=str(text_store)))


@pytest.mark.parametrize("kind", [PretrainingDataConfig, PairsDataConfig])
@pytest.mark.parametrize("store", ["memory://bucket/none", "/data/memory:/bucket/none"])  # made absolute
def test_a_store_that_is_not_in_object_storage(kind, store):
    with pytest.raises(DataError, match=r"^memory://bucket/none is not a (token|pair) store: "):
        open_pipeline(kind(store=store))


def test_a_directory_named_like_a_scheme_is_a_directory(tmp_path, vocabulary, prose):
    (tmp_path / "gs:").mkdir()
    write_text_store(prose(50, seed=1), vocabulary, tmp_path / "gs:" / "store")
    assert open_pipeline(PretrainingDataConfig(store=str(tmp_path / "gs:" / "store"), inputs_length=32))
