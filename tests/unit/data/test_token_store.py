import functools
import json
import operator
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import DataError, UserError
from t5lite.data.stores.pair_store import PairStore, PairStoreWriter
from t5lite.data.stores.token_store import TokenStore, TokenStoreWriter
from t5lite.data.vocabulary import SentencePieceVocabulary

SMALL = {"page_items": 8, "pages_per_shard": 3}


def write(path, vocabulary, documents, **options):
    with TokenStoreWriter(path, vocabulary=vocabulary, **options) as writer:
        writer.add_batch(np.asarray(document) for document in documents)
    return path


@pytest.fixture
def store_path(tmp_path, vocabulary):
    return write(tmp_path / "store", vocabulary, [np.arange(n, n + 11) for n in range(3, 12)], **SMALL)


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30), data=st.data())
def test_store_is_the_concatenation_of_its_documents(tmp_path_factory, vocabulary, lengths, data):
    generator = np.random.default_rng(sum(lengths))
    documents = [generator.integers(3, 200, length) for length in lengths]
    path = write(tmp_path_factory.mktemp("s") / "store", vocabulary, documents, **SMALL)
    store, stream = TokenStore.open(path, vocabulary.fingerprint), np.concatenate(documents)
    assert (store.num_documents, store.num_tokens) == (len(lengths), len(stream))
    np.testing.assert_array_equal(store.document_lengths, lengths)
    start, stop = sorted(data.draw(st.lists(st.integers(0, len(stream)), min_size=2, max_size=2)))
    np.testing.assert_array_equal(store.tokens(start, stop), stream[start:stop])
    index = data.draw(st.integers(0, len(lengths) - 1))
    np.testing.assert_array_equal(store.document(index), documents[index])
    starts = np.arange(0, len(stream) - 2, 3)
    expected = [stream[start : start + 3] for start in starts]
    if expected:
        np.testing.assert_array_equal(store.chunks(starts, 3), expected)
    with pytest.raises(IndexError):
        store.tokens(0, len(stream) + 1)


def test_width_follows_the_vocabulary(tmp_path, vocabulary):
    wide = SentencePieceVocabulary(vocabulary.path, extra_ids=70_000)
    narrow_path = write(tmp_path / "narrow", vocabulary, [[5, 6]])
    wide_path = write(tmp_path / "wide", wide, [[5, 70_100]])
    assert TokenStore.open(narrow_path).tokens(0, 2).dtype == np.uint16
    assert TokenStore.open(wide_path).tokens(0, 2).tolist() == [5, 70_100]
    assert TokenStore.open(wide_path).vocabulary().fingerprint == wide.fingerprint


def test_store_carries_its_vocabulary_and_reopens_after_pickling(store_path, vocabulary):
    store = TokenStore.open(store_path)
    assert store.vocabulary().fingerprint == vocabulary.fingerprint
    assert pickle.loads(pickle.dumps(store)).num_tokens == store.num_tokens


def test_opening_reads_no_tokens(store_path):
    for path in store_path.glob("*.bin"):
        path.chmod(0)
        content = path.stat().st_size
        path.unlink()
        with open(path, "wb") as stream:
            stream.truncate(content)  # a hole: right size, wrong content
    TokenStore.open(store_path)


def test_vocabulary_mismatch(store_path, vocabulary, tmp_path):
    with pytest.raises(DataError, match=r"another vocabulary .*prepare the text again"):
        TokenStore.open(store_path, "0" * 64)
    (store_path / "spiece.model").write_bytes(vocabulary.model_bytes + b"\x00\x00")
    with pytest.raises(DataError, match=r"spiece\.model"):
        TokenStore.open(store_path).vocabulary()


@pytest.mark.parametrize(
    "name",
    ["tokens-00001.bin", "tokens.crc32", "document_ends-00000.bin", "document_ends.crc32", "index.json"],
)
def test_missing_and_truncated_files_are_found_at_open(store_path, name):
    path = store_path / name
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        TokenStore.open(store_path)
    path.unlink()
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        TokenStore.open(store_path)
    path.write_bytes(content)
    TokenStore.open(store_path)


def test_bit_flip_is_found_at_the_first_read_of_its_page(store_path):
    path = store_path / "tokens-00001.bin"
    content = bytearray(path.read_bytes())
    content[17] ^= 4  # page 1 of shard 1: tokens 32..39 of the stream
    path.write_bytes(content)
    store = TokenStore.open(store_path)
    assert len(store.tokens(0, 32)) == 32
    assert len(store.tokens(40, 48)) == 8
    for _ in range(2):  # a damaged page never becomes "checked"
        with pytest.raises(DataError, match=r"page 1 of .*tokens-00001\.bin does not match its CRC-32"):
            store.tokens(30, 34)


@pytest.mark.parametrize(
    "change",
    [{"format": "other"}, {"version": 99}, {"columns": {}}, {"num_tokens": 1}, {"num_documents": "many"}],
)
def test_index_of_another_kind_is_refused(store_path, change):
    (store_path / "index.json").write_text(json.dumps(without_checksum(store_path) | change))
    with pytest.raises(DataError, match=r"index\.json"):
        TokenStore.open(store_path)


def test_not_a_store(tmp_path):
    with pytest.raises(DataError, match=r"is not a token store: index\.json cannot be read .*t5lite prepare"):
        TokenStore.open(tmp_path)


def test_failed_writing_leaves_nothing(tmp_path, vocabulary):
    with pytest.raises(DataError, match="token 900 is outside"):
        write(tmp_path / "store", vocabulary, [[3, 4], [900]], **SMALL)
    with pytest.raises(DataError, match="without tokens"):
        write(tmp_path / "store", vocabulary, [[3, 4], np.array([], np.int32)], **SMALL)
    assert not list(tmp_path.iterdir())


def test_existing_store_is_kept_unless_overwritten(store_path, vocabulary):
    with pytest.raises(UserError, match="--overwrite"):
        write(store_path, vocabulary, [[3]])
    assert TokenStore.open(store_path).num_documents == 9
    write(store_path, vocabulary, [[3]], overwrite=True)
    assert TokenStore.open(store_path).num_documents == 1


def test_pair_store(tmp_path, vocabulary):
    pairs = [(np.arange(3, 3 + n), np.arange(4, 4 + 2 * n)) for n in range(1, 6)]
    with PairStoreWriter(tmp_path / "pairs", vocabulary=vocabulary) as writer:
        writer.add_batch(pairs[:2])
        writer.add_batch(pairs[2:])
    store = PairStore.open(tmp_path / "pairs", vocabulary.fingerprint)
    assert store.num_pairs == 5
    for index, (inputs, targets) in enumerate(pairs):
        np.testing.assert_array_equal(store.inputs.document(index), inputs)
        np.testing.assert_array_equal(store.targets.document(index), targets)


def test_pair_store_is_atomic_and_its_sides_must_agree(tmp_path, vocabulary):
    with pytest.raises(DataError), PairStoreWriter(tmp_path / "pairs", vocabulary=vocabulary) as writer:
        writer.add_batch([(np.array([3]), np.array([], np.int32))])
    assert not list(tmp_path.iterdir())
    with PairStoreWriter(tmp_path / "pairs", vocabulary=vocabulary) as writer:
        writer.add_batch([(np.array([3]), np.array([4]))])
    write(tmp_path / "pairs" / "targets", vocabulary, [[3], [4]], overwrite=True)
    with pytest.raises(DataError, match="1 inputs, 2 targets and says 1 pairs"):
        PairStore.open(tmp_path / "pairs")
    with pytest.raises(
        DataError, match=r"is not a pair store: by its index\.json, it is a token store; .* pairs`"
    ):
        PairStore.open(tmp_path / "pairs" / "inputs")
    with pytest.raises(
        DataError, match=r"is not a token store: by its pairs\.json, it is a pair store; .* text`"
    ):
        TokenStore.open(tmp_path / "pairs")


def test_shards_are_contiguous(store_path):
    index = json.loads((store_path / "index.json").read_text())
    sizes = index["columns"]["tokens"]["shard_bytes"]
    assert len(sizes) == 5
    assert all(size == 8 * 3 * 2 for size in sizes[:-1])
    assert all(a >= b for a, b in pairwise(sizes))


OTHER_VALUES = [None, True, 0, -1, 1, 2.5, 10**30, "x", "<u1", ">u2", [], [None], {}]


def places_in(value, *path):
    """Every place in JSON, as the keys that lead there."""
    for key in (
        list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    ):
        yield (*path, key)
        yield from places_in(value[key], *path, key)


@pytest.mark.parametrize("pages_per_shard", [3, 1024])
def test_an_index_that_says_anything_else_is_refused_or_means_the_same(tmp_path, vocabulary, pages_per_shard):
    documents = [np.arange(n, n + 11) for n in range(3, 12)]
    options = {"page_items": 8, "pages_per_shard": pages_per_shard}
    store_path = write(tmp_path / "store", vocabulary, documents, **options)
    index = without_checksum(store_path)
    whole = TokenStore.open(store_path)
    expected, lengths = whole.tokens(0, whole.num_tokens), whole.document_lengths
    refused = 0
    for *path, key in places_in(index):
        for value in OTHER_VALUES:
            changed = json.loads(json.dumps(index))
            holder = functools.reduce(operator.getitem, path, changed)
            holder[key] = value
            (store_path / "index.json").write_text(json.dumps(changed))
            try:
                store = TokenStore.open(store_path)
                store.vocabulary()
                starts = np.arange(0, store.num_tokens - 4, 5)
                np.testing.assert_array_equal(store.chunks(starts, 4), [expected[n : n + 4] for n in starts])
                np.testing.assert_array_equal(store.document_lengths, lengths)
            except UserError:
                refused += 1
    assert refused > 200


def without_checksum(store_path):
    """The index as it was before it had a checksum."""
    index = json.loads((store_path / "index.json").read_text())
    del index["index_crc32"]
    return index


def test_an_index_without_a_checksum_is_read_as_before(store_path):
    (store_path / "index.json").write_text(json.dumps(without_checksum(store_path)))
    assert TokenStore.open(store_path).num_documents == 9


def facts(directory):
    """All that a store's index says."""
    if (directory / "pairs.json").is_file():
        store = PairStore.open(directory)
        return store.num_pairs, store.collapsed_targets, facts(directory / "inputs")
    store = TokenStore.open(directory)
    numbers = store.num_tokens, store.num_documents, store.unknown
    return *numbers, store.vocabulary_fingerprint, store.tokens(0, 1).dtype


@pytest.mark.fault(
    "a bit of a store's `index.json` or `pairs.json` flips",
    "refused by its checksum when the store is opened",
    2,
)
@pytest.mark.parametrize("name", ["index.json", "pairs.json"])
def test_one_bit_of_an_index_is_refused_or_changes_nothing(tmp_path, vocabulary, name):
    """``<u2`` is one bit from ``>u2``, and a count one bit from another."""
    with PairStoreWriter(tmp_path / "pairs", vocabulary=vocabulary) as writer:
        writer.add_batch([(np.array([3, 4]), np.array([4]))] * 12)
    directory = tmp_path / "pairs" if name == "pairs.json" else tmp_path / "pairs" / "inputs"
    expected, content = facts(directory), bytearray((directory / name).read_bytes())
    refused = 0
    for place in range(0, 8 * len(content), 3):
        content[place // 8] ^= 1 << place % 8
        (directory / name).write_bytes(content)
        content[place // 8] ^= 1 << place % 8
        try:
            assert facts(directory) == expected
        except DataError:
            refused += 1
    assert refused > 2 * len(content)


def test_an_index_that_is_nested_too_deeply_is_refused(store_path):
    (store_path / "index.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        TokenStore.open(store_path)
