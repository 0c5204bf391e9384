import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from t5lite.core.errors import DataError, ReportedError, TransientError, UserError
from t5lite.core.exit_codes import ExitCode
from t5lite.core.machine_errors import exit_code
from t5lite.core.storage import requests as storage_requests
from t5lite.core.storage.addresses import absolute_location, local_path, storage_address
from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.objectives.causal_lm import CausalLM
from t5lite.data.pipeline import open_pipeline
from t5lite.data.stores import ranged_column
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.store_directory import Range, RemoteDirectory, open_directory
from t5lite.data.stores.token_store import TokenStore, TokenStoreWriter

SMALL = {"page_items": 8, "pages_per_shard": 3}


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


def uploaded(memory, path, name):
    memory.put(str(path), f"/bucket/{name}", recursive=True)
    return f"memory://bucket/{name}"


@pytest.fixture
def small_store(tmp_path, vocabulary):
    with TokenStoreWriter(tmp_path / "small", vocabulary=vocabulary, **SMALL) as writer:
        writer.add_batch(np.arange(n, n + 11) for n in range(3, 12))
    return tmp_path / "small"


@pytest.fixture
def requests(monkeypatch):
    """The ranged requests, a list for each call that sends them at once."""
    sent = []
    cat_ranges = MemoryFileSystem.cat_ranges

    def counted(self, paths, starts, ends, **options):
        sent.append(list(zip(paths, starts, ends, strict=True)))
        return cat_ranges(self, paths, starts, ends, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", counted)
    return sent


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("gs://bucket/train", "gs://bucket/train"),
        ("/data/s3:/bucket/train", "s3://bucket/train"),  # made absolute
        ("gs:/bucket/train", "gs://bucket/train"),  # made a Path
        ("file:///data/train", None),
        ("data/train", None),
        ("C:/data", None),
    ],
)
def test_addresses_are_known_however_they_were_treated(path, address):
    assert storage_address(path) == address
    assert absolute_location(path) == (address or str(local_path(path).absolute()))


def test_a_local_directory_that_looks_like_an_address_is_local(tmp_path, monkeypatch):
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert storage_address(tmp_path / "s3:" / "bucket") is None


def test_a_remote_store_reads_as_the_local_one(memory, small_store, vocabulary):
    local, remote = TokenStore.open(small_store), TokenStore.open(uploaded(memory, small_store, "small"))
    assert remote.vocabulary().fingerprint == vocabulary.fingerprint
    np.testing.assert_array_equal(remote.document_lengths, local.document_lengths)
    for start, stop in [(0, 0), (0, 99), (7, 9), (23, 25), (0, 24), (90, 99)]:
        np.testing.assert_array_equal(remote.tokens(start, stop), local.tokens(start, stop))
    starts = np.arange(0, 80, 7)
    for length in (3, 19):
        np.testing.assert_array_equal(remote.chunks(starts, length), local.chunks(starts, length))
    documents = np.array([8, 0, 3])
    for a, b in zip(remote.documents(documents), local.documents(documents), strict=True):
        np.testing.assert_array_equal(a, b)
    assert remote.path == "memory://bucket/small"
    with pytest.raises(IndexError):
        remote.tokens(0, 100)


@pytest.mark.parametrize("kind", ["text", "separated", "pairs"])
def test_batches_from_object_storage_are_those_from_disk(memory, text_store, pair_store, kind):
    source = pair_store if kind == "pairs" else text_store
    address = uploaded(memory, source, kind)

    def opened(store):
        if kind == "pairs":
            return open_pipeline(PairsDataConfig(store=store, inputs_length=24, targets_length=24, pack=True))
        objective = {"objective": CausalLM()} if kind == "separated" else {}
        return open_pipeline(PretrainingDataConfig(store=store, inputs_length=32, **objective))

    local, remote = opened(str(source)), opened(address)
    for step in (0, 10**9):
        a, b = local.batch(8 * step, batch_size=8), remote.batch(8 * step, batch_size=8)
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_a_batch_is_one_round_of_requests(memory, small_store, requests):
    store = TokenStore.open(uploaded(memory, small_store, "small"))
    assert not requests
    store.chunks(np.array([0, 90, 30]), 8)
    assert [len(sent) for sent in requests] == [1, 4]  # checksums, then pages of four shards
    store.chunks(np.array([0, 91]), 8)
    assert len(requests) == 2  # kept
    store.tokens(0, 99)
    assert len(requests) == 3
    assert len(requests[-1]) <= 5  # neighbouring pages of a shard by one request


def test_what_is_kept_is_bounded(memory, small_store, requests, monkeypatch):
    monkeypatch.setattr(ranged_column, "_CACHE_BYTES", 40)
    store = TokenStore.open(uploaded(memory, small_store, "small"))
    np.testing.assert_array_equal(store.tokens(0, 99), TokenStore.open(small_store).tokens(0, 99))
    store.tokens(0, 8)
    assert len(requests) == 3  # its page had to go


def test_damage_is_found_named_and_not_believed_at_once(memory, small_store, requests):
    address = uploaded(memory, small_store, "small")
    content = bytearray(memory.cat_file("/bucket/small/tokens-00001.bin"))
    content[17] ^= 4
    memory.pipe_file("/bucket/small/tokens-00001.bin", bytes(content))
    store = TokenStore.open(address)
    with pytest.raises(
        DataError, match=r"page 1 of memory://bucket/small/tokens-00001\.bin does not match its CRC-32"
    ):
        store.tokens(30, 34)
    assert len(requests) == 3  # checksums, pages, the page once more
    memory.pipe_file("/bucket/small/tokens-00001.bin", bytes(content[:-3]))
    with pytest.raises(DataError, match=r"small/tokens-00001\.bin has 45 bytes, the index says 48"):
        TokenStore.open(address)
    memory.rm("/bucket/small/tokens-00001.bin")
    with pytest.raises(DataError, match=r"small/tokens-00001\.bin is missing"):
        TokenStore.open(address)
    with pytest.raises(
        DataError,
        match=r"memory://bucket/none is not a token store: index\.json cannot be read \(no such file",
    ):
        TokenStore.open("memory://bucket/none")


def test_shards_that_are_gone_damage_their_pages_only_if_wanted(memory, small_store):
    address = uploaded(memory, small_store, "small")
    memory.rm("/bucket/small/tokens-00001.bin")
    store = TokenStore.open(address, tolerate_damage=True)
    assert len(store.tokens(0, 24)) == 24
    with pytest.raises(DataError, match=r"tokens-00001\.bin"):
        store.tokens(20, 30)


def test_errors_of_the_network_are_tried_again(memory, small_store, monkeypatch):
    monkeypatch.setattr(storage_requests, "_FIRST_PAUSE_SECONDS", 0.001)
    store = TokenStore.open(uploaded(memory, small_store, "small"))
    answers, real = [], MemoryFileSystem.cat_ranges

    def failing(self, paths, starts, ends, **options):
        contents = real(self, paths, starts, ends, **options)
        answers.append(contents)
        return [ConnectionResetError("reset") if len(answers) < failures else each for each in contents]

    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", failing)
    failures = 3
    assert len(store.tokens(0, 8)) == 8
    answers, failures = [], 100
    with pytest.raises(TransientError, match=r"^bytes \d+ to \d+ of .* are not read: .*/small: object"):
        store.tokens(24, 32)
    assert len(answers) == 3


def test_storage_that_does_not_answer_is_no_damage(memory, small_store, monkeypatch):
    """A run that leaves damaged rows blank would leave out all rows of an outage."""
    directory = open_directory(uploaded(memory, small_store, "store"))
    outage = ConnectionResetError("reset by peer")
    monkeypatch.setattr(MemoryFileSystem, "cat_ranges", lambda self, paths, *_, **__: [outage] * len(paths))
    with pytest.raises(TransientError, match=r"storage does not answer .reset by peer."):
        directory.ranges([Range("tokens-00000.bin", 0, 8)])


@pytest.mark.parametrize(
    ("error", "code"),
    [(PermissionError("403"), ExitCode.USER_ERROR), (ConnectionResetError("reset"), ExitCode.TRANSIENT)],
)
def test_only_what_another_start_may_mend_is_transient(memory, small_store, monkeypatch, error, code):
    """And only that is asked again; neither is a damaged row, which a run may be told to leave out."""
    monkeypatch.setattr(storage_requests, "_FIRST_PAUSE_SECONDS", 0.001)
    address = uploaded(memory, small_store, "refused")
    store = TokenStore.open(address)
    asked = []

    def refuse(self, paths, *_, **__):
        asked.append(paths)
        if isinstance(paths, list):
            return [error] * len(paths)
        raise error

    for method, ask in (
        ("cat_file", lambda: TokenStore.open(address)),
        ("cat_ranges", lambda: store.tokens(0, 8)),
    ):
        monkeypatch.setattr(MemoryFileSystem, method, refuse)
        asked.clear()
        with pytest.raises(ReportedError) as told:
            ask()
        assert not isinstance(told.value, DataError)
        assert exit_code(told.value) == code
        assert len(asked) == (1 if code == ExitCode.USER_ERROR else 3)


def test_what_opens_nothing_here_says_what_to_install():
    with pytest.raises(DataError, match=r"^nosuch://bucket/x cannot be opened \(.*\); check the address"):
        open_directory("nosuch://bucket/x")


def test_a_pair_store_needs_both_sides(memory, pair_store):
    address = uploaded(memory, pair_store, "pairs")
    assert isinstance(open_directory(address), RemoteDirectory)
    assert PairStore.open(address).num_pairs == PairStore.open(pair_store).num_pairs
    memory.rm("/bucket/pairs/targets", recursive=True)
    with pytest.raises(DataError, match="pairs/targets is not a token store"):
        PairStore.open(address)


def test_errors_of_the_librarys_own_kinds_are_one_line(memory, small_store, monkeypatch):
    monkeypatch.setattr(storage_requests, "_FIRST_PAUSE_SECONDS", 0.001)
    address = uploaded(memory, small_store, "small")
    store = TokenStore.open(address)

    def unreachable(*_, **__):
        raise RuntimeError("could not connect")

    for name in ("cat_ranges", "cat_file", "ls", "info"):
        monkeypatch.setattr(MemoryFileSystem, name, unreachable)
    with pytest.raises(
        UserError, match=r"tokens\.crc32 are not read: memory://bucket/small cannot be used \(could not conn"
    ):
        store.tokens(0, 8)
    with pytest.raises(UserError, match=r"index\.json cannot be used \(could not connect\)"):
        TokenStore.open(address)
