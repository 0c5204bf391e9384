"""A damaged shard stops the stream by name, or costs blank rows that are counted."""

import os
import shutil

import numpy as np
import pytest

from t5lite.core.errors import DataError
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.mixture import MixtureDataConfig, MixtureSource
from t5lite.data.pipeline import open_pipeline
from t5lite.data.stores.paged_column import DamagedPageError
from t5lite.data.stores.token_store import TokenStore, TokenStoreWriter
from t5lite.data.vocabulary import ByteVocabulary

pytestmark = pytest.mark.slow

SMALL = {"page_items": 64, "pages_per_shard": 4}
DAMAGES = ["flipped bits", "truncated", "missing"]


@pytest.fixture
def store(tmp_path, vocabulary):
    generator = np.random.default_rng(0)
    with TokenStoreWriter(tmp_path / "store", vocabulary=vocabulary, **SMALL) as writer:
        writer.add_batch(generator.integers(3, 100, 40) for _ in range(50))
    return tmp_path / "store"


def damage(store, kind, name="tokens-00003.bin"):
    path = store / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if kind == "flipped bits":
        content[130] ^= 8
        path.write_bytes(content)
    elif kind == "truncated":
        path.write_bytes(content[:200])


def config(store):
    return PretrainingDataConfig(store=str(store), inputs_length=32)


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_stream_stops_and_names_the_file(store, kind, num_workers):
    before = open_pipeline(config(store))
    damage(store, kind)
    batches = before.batches(batch_size=8, num_steps=before.num_examples // 8, num_workers=num_workers)
    with pytest.raises(DataError, match=r"tokens-00003\.bin"):
        list(batches)
    if kind != "flipped bits":
        with pytest.raises(DataError, match=r"tokens-00003\.bin"):
            open_pipeline(config(store))


@pytest.mark.fault(
    "a shard of a store is cut short while a run has it open",
    "the run stops and names it, or with `--loader.on-damage skip` leaves out its rows and counts them",
    2,
)
@pytest.mark.parametrize("name", ["tokens-00003.bin", "tokens.crc32", "document_ends-00000.bin"])
@pytest.mark.parametrize("size", [0, 100])
def test_a_file_that_is_cut_while_it_is_mapped_is_named(tmp_path, name, size):
    """To touch what is no longer there would end the process without a word."""
    vocabulary = ByteVocabulary()
    with TokenStoreWriter(tmp_path / "store", vocabulary=vocabulary, page_items=64, pages_per_shard=512) as w:
        w.add_batch(np.full(3, 5) for _ in range(40_000))
    store = TokenStore.open(tmp_path / "store")
    starts = np.arange(3 * 512 * 64, store.num_tokens - 32, 2048)
    assert (store.chunks(starts, 32) == 5).all()
    assert store.document_ends(7, 9).tolist() == [24, 27]
    os.truncate(tmp_path / "store" / name, size)
    with pytest.raises(DataError, match=name):
        (store.chunks(starts + 64, 32), store.document(20_000))


@pytest.mark.parametrize("kind", DAMAGES)
def test_or_leaves_blank_rows_that_are_counted(tmp_path, store, kind):
    shutil.copytree(store, tmp_path / "whole")
    damage(store, kind)
    whole = open_pipeline(config(tmp_path / "whole"))
    pipeline = open_pipeline(config(store), on_damage="skip")
    size = pipeline.num_examples
    expected, batch = whole.batch(0, batch_size=size), pipeline.batch(0, batch_size=size)
    blank = ~batch["decoder_loss_weights"].any(axis=1)
    lost = {"flipped bits": 64, "truncated": 156, "missing": 256}[kind]
    raw = 37  # tokens of a chunk
    assert lost // raw <= blank.sum() <= -(-lost // raw) + 2 + 4
    for name, field in batch.items():
        np.testing.assert_array_equal(field[~blank], expected[name][~blank])
        assert not field[blank].any()
    assert sum(pipeline.skipped.values()) == blank.sum()
    assert all("tokens-00003.bin does not match its CRC-32" in message for message in pipeline.skipped)
    # The same rows, whoever asks for them.
    parts = [pipeline.batch(0, batch_size=size, rows=slice(i, i + 1)) for i in range(size)]
    for name, field in batch.items():
        np.testing.assert_array_equal(field, np.concatenate([part[name] for part in parts]))


@pytest.mark.slow
def test_workers_report_what_they_skipped(store):
    damage(store, "missing")
    pipeline = open_pipeline(config(store), on_damage="skip")
    steps = pipeline.num_examples // 8
    batches = list(pipeline.batches(batch_size=8, num_steps=steps, num_workers=2))
    blank = sum(int((~batch["decoder_loss_weights"].any(axis=1)).sum()) for batch in batches)
    assert blank > 0
    assert sum(pipeline.skipped.values()) == blank


def test_in_a_mixture_other_sources_go_on(store, text_store):
    damage(store, "missing")
    sources = (
        MixtureSource(name="broken", data=config(store)),
        MixtureSource(name="whole", data=config(text_store)),
    )
    pipeline = open_pipeline(MixtureDataConfig(sources=sources), on_damage="skip")
    batch = pipeline.batch(0, batch_size=pipeline.num_examples)
    blank = ~batch["decoder_loss_weights"].any(axis=1)
    assert 0 < blank.sum() == sum(pipeline.skipped.values()) < pipeline.num_examples / 2
    with pytest.raises(DataError, match=r"source 'broken': .*tokens-00003\.bin"):
        open_pipeline(MixtureDataConfig(sources=sources))


def test_pairs_need_to_know_where_documents_end(tmp_path, pair_store):
    shutil.copytree(pair_store, tmp_path / "pairs")
    pairs = PairsDataConfig(store=str(tmp_path / "pairs"), inputs_length=24, targets_length=24, pack=True)
    (tmp_path / "pairs" / "inputs" / "tokens-00000.bin").unlink()
    with pytest.raises(DataError, match=r"none of \d+ examples can be read: .*inputs/tokens-00000\.bin"):
        open_pipeline(pairs, on_damage="skip").batch(0, batch_size=4)
    (tmp_path / "pairs" / "inputs" / "document_ends-00000.bin").unlink()
    with pytest.raises(DataError, match=r"document_ends-00000\.bin is missing"):
        open_pipeline(pairs, on_damage="skip")


def test_a_damaged_page_is_a_data_error():
    assert issubclass(DamagedPageError, DataError)
