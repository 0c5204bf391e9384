"""Raw tokens a second, start-up, seeking and memory of the input pipeline, beside seqio and t5.

    python benchmarks/input_pipeline.py                             # t5lite alone, about two minutes
    python benchmarks/input_pipeline.py --seqio-python t5env/bin/python --only throughput

Span corruption of T5 (512 inputs, 114 targets) of documents of about 300 tokens, batches of 128, on the
cores of this machine. Counted are tokens of the text that arrive in batches, so that padding, sentinels and
EOS are worth nothing. The same documents lie in a token store and in a TFRecord file of token ids (what seqio
caches); rounds of both sides take turns, so that they see the same load, and medians are compared.

* throughput: t5lite by 0, 1 and 2 worker processes; seqio by ``seqio.get_dataset`` as T5X calls it, shuffled
  with its own buffer, unpacked and packed, tf.data's parallelism tuned by itself. Needs an environment with
  ``pip install tensorflow-cpu tensorflow-text seqio t5`` (Python 3.11), which t5lite itself is not in.
* memory: stores from 10 MB to 10 GB, each opened by a process of its own that goes to random places. They are
  sparse (pages of zeros with right checksums), so that they cost no disk. ``anonymous`` memory is what the
  process holds for itself; of the mapped files, the kernel keeps in memory what it has room for.
* seek: the first batch of a pipeline just opened, at step 1 and at step 10^9.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RAW, INPUTS, TARGETS, BATCH = 568, 512, 114, 128
VOCABULARY_SIZE, EXTRA_IDS = 32_000, 100
SIZES = {"10 MB": 10**7, "100 MB": 10**8, "1 GB": 10**9, "10 GB": 10**10}
WARM_UP = 8


def documents(num_tokens: int) -> list[np.ndarray]:
    """Return documents of about 300 tokens, of ids as a vocabulary of 32,000 pieces has them."""
    generator = np.random.default_rng(0)
    tokens = generator.integers(3, VOCABULARY_SIZE, num_tokens)
    ends = np.cumsum(generator.geometric(1 / 300, num_tokens // 300))
    return np.split(tokens, ends[ends < num_tokens])


def text_tokens(batch: dict[str, np.ndarray]) -> int:
    """Return how many tokens of the text a batch holds."""
    fields = (batch["encoder_input_tokens"], batch["decoder_target_tokens"])
    return sum(int(((field > 2) & (field < VOCABULARY_SIZE)).sum()) for field in fields)


def rate(batches: Iterator[dict[str, np.ndarray]], seconds: float) -> float:
    """Return millions of text tokens a second over about ``seconds``."""
    begin, tokens = time.perf_counter(), 0
    while (passed := time.perf_counter() - begin) < seconds:
        tokens += text_tokens(next(batches))
    return tokens / passed / 1e6


def write_store(path: Path, texts: list[np.ndarray]) -> None:
    """Write a token store with a vocabulary of 32,100 ids that no text was made with."""
    from t5lite.data.stores.token_store import TokenStoreWriter

    with TokenStoreWriter(path, vocabulary=stand_in_vocabulary()) as writer:
        writer.add_batch(texts)


def stand_in_vocabulary() -> Any:
    """Return bytes with so many sentinels that there are 32,100 ids: only their number matters here."""
    from t5lite.data.vocabulary import ByteVocabulary

    return ByteVocabulary(extra_ids=VOCABULARY_SIZE + EXTRA_IDS - 259)


def open_store(path: Path) -> Any:
    """Return the pipeline that is measured."""
    from t5lite.data.pipeline import PretrainingDataConfig, open_pipeline

    return open_pipeline(PretrainingDataConfig(store=str(path), inputs_length=INPUTS))


def measure_throughput(arguments: argparse.Namespace, directory: Path) -> None:
    """Print the medians of interleaved rounds."""
    texts = documents(arguments.tokens)
    write_store(directory / "store", texts)
    pipeline = open_store(directory / "store")
    workers = {f"t5lite, {n} worker processes": n for n in (0, 1, 2)}
    sides: dict[str, Callable[[float], float]] = {
        name: _t5lite_side(pipeline, num_workers) for name, num_workers in workers.items()
    }
    peers = []
    if arguments.seqio_python:
        for kind in ("unpacked", "packed"):
            peers.append(_Peer(arguments.seqio_python, kind, directory, texts))
            sides[f"seqio + t5, {kind}"] = peers[-1].rate
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name, measure in sides.items():
            rates[name].append(measure(arguments.seconds))
    medians = {name: statistics.median(each) for name, each in rates.items()}
    print(f"million raw tokens a second, {os.cpu_count()} cores, medians of {arguments.rounds} rounds")
    for name, median in medians.items():
        print(f"  {name:<28} {median:6.2f}   ({min(rates[name]):.2f} to {max(rates[name]):.2f})")
    if peers:
        best = max(median for name, median in medians.items() if name.startswith("t5lite"))
        for name in medians:
            if name.startswith("seqio"):
                print(f"  t5lite's best is {best / medians[name]:.1f} times {name}")
    for peer in peers:
        peer.close()


def _t5lite_side(pipeline: Any, num_workers: int) -> Callable[[float], float]:
    def measure(seconds: float) -> float:
        batches = pipeline.batches(batch_size=BATCH, num_workers=num_workers)
        for _ in range(WARM_UP):  # processes start once a run; the rounds are short
            next(batches)
        result = rate(batches, seconds)
        batches.close()
        return result

    return measure


class _Peer:
    """seqio in a process of the other environment, which measures when it is asked."""

    def __init__(self, python: str, kind: str, directory: Path, texts: list[np.ndarray]):
        ids = directory / "documents.npz"
        if not ids.exists():
            np.savez(ids, tokens=np.concatenate(texts), lengths=[len(text) for text in texts])
        self._process = subprocess.Popen(
            [python, __file__, "--peer", kind, "--directory", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self._line() != "ready":
            raise SystemExit(f"{python} cannot run seqio and t5; see the head of this file")

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def rate(self, seconds: float) -> float:
        """Return millions of text tokens a second."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def be_peer(kind: str, directory: Path) -> None:
    """Measure seqio whenever a line with a number of seconds arrives; runs in the other environment."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import seqio
    import tensorflow as tf
    from t5.data import preprocessors

    records = directory / f"documents-{kind}.tfrecord"
    with np.load(directory / "documents.npz") as saved, tf.io.TFRecordWriter(str(records)) as writer:
        for text in np.split(saved["tokens"], np.cumsum(saved["lengths"])[:-1]):
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=text))
            example = tf.train.Example(features=tf.train.Features(feature={"targets": feature}))
            writer.write(example.SerializeToString())
    vocabulary = seqio.PassThroughVocabulary(VOCABULARY_SIZE + EXTRA_IDS, eos_id=1)
    feature = seqio.Feature(vocabulary, add_eos=True)
    seqio.TaskRegistry.add(
        "spans",
        source=seqio.TFExampleDataSource(
            split_to_filepattern={"train": str(records)},
            feature_description={"targets": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)},
        ),
        preprocessors=[
            lambda dataset: dataset.map(lambda each: {"targets": tf.cast(each["targets"], tf.int32)}),
            preprocessors.span_corruption,
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={"inputs": feature, "targets": feature},
        metric_fns=[],
    )
    dataset = seqio.get_dataset(
        "spans",
        task_feature_lengths={"inputs": INPUTS, "targets": TARGETS},
        dataset_split="train",
        shuffle=True,
        num_epochs=None,
        feature_converter=seqio.EncDecFeatureConverter(pack=kind == "packed"),
    )
    batches = dataset.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    for _ in range(WARM_UP):
        next(batches)
    print("ready", flush=True)
    for line in sys.stdin:
        print(rate(batches, float(line)), flush=True)


def write_sparse_store(path: Path, num_bytes: int) -> None:
    """Write a store of zeros that takes no disk: holes in place of pages, and the checksums they have."""
    from t5lite.data.stores.token_store import PAGE_ITEMS, PAGES_PER_SHARD

    write_store(path, [np.zeros(PAGE_ITEMS, np.int64)])
    index = json.loads((path / "index.json").read_text())
    num_tokens = num_bytes // 2 // PAGE_ITEMS * PAGE_ITEMS
    column = index["columns"]["tokens"]
    sizes = [PAGES_PER_SHARD * PAGE_ITEMS * 2] * (num_tokens // (PAGES_PER_SHARD * PAGE_ITEMS))
    if left := num_tokens * 2 - sum(sizes):
        sizes.append(left)
    for number, size in enumerate(sizes):
        with open(path / f"tokens-{number:05d}.bin", "wb") as shard:
            shard.truncate(size)
    crcs = np.full(num_tokens // PAGE_ITEMS, zlib.crc32(bytes(2 * PAGE_ITEMS)), "<u4")
    (path / "tokens.crc32").write_bytes(crcs.tobytes())
    column.update(num_items=num_tokens, shard_bytes=sizes, crc32_bytes=crcs.nbytes)
    index["num_tokens"] = num_tokens
    del index["index_crc32"]
    (path / "index.json").write_text(json.dumps(index))


def measure_memory(arguments: argparse.Namespace, directory: Path) -> None:
    """Print start-up and memory for stores of growing size, each read by a process of its own."""
    print(f"a process reads {arguments.batches} batches of {BATCH} at random places")
    print("  store     open    first batch   tokens/s   anonymous memory   with mapped pages")
    for name, num_bytes in SIZES.items():
        path = directory / name.replace(" ", "")
        write_sparse_store(path, num_bytes)
        command = [sys.executable, __file__, "--read", str(path), "--batches", str(arguments.batches)]
        read = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        print(
            f"  {name:<7} {read['open']:5.2f} s  {read['first']:9.2f} s   {read['rate']:6.1f}M   "
            f"{read['anonymous_mb']:13.0f} MB   {read['resident_mb']:14.0f} MB"
        )
        for file in path.iterdir():
            file.unlink()
        path.rmdir()


def read_store(path: Path, num_batches: int) -> dict[str, float]:
    """Return what opening and reading a store costs this process."""
    importlib.import_module("t5lite.data.pipeline")  # imports are not what is measured

    begin = time.perf_counter()
    pipeline = open_store(path)
    opened = time.perf_counter()
    pipeline.batch(0, batch_size=BATCH)
    first = time.perf_counter()
    for step in range(1, num_batches):
        pipeline.batch(step * BATCH, batch_size=BATCH)
    seconds = time.perf_counter() - first
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "open": opened - begin,
        "first": first - opened,
        "rate": (num_batches - 1) * BATCH * RAW / seconds / 1e6,
        "anonymous_mb": int(status["RssAnon"].split()[0]) / 1e3,
        "resident_mb": int(status["VmRSS"].split()[0]) / 1e3,
    }


def measure_seek(arguments: argparse.Namespace, directory: Path) -> None:
    """Print what the first batch of a pipeline just opened costs, early and late in the stream."""
    path = directory / "seek"
    write_sparse_store(path, 10**9)
    times: dict[int, list[float]] = {1: [], 10**9: []}
    for _ in range(5 * arguments.rounds):
        for step, taken in times.items():
            pipeline = open_store(path)
            begin = time.perf_counter()
            pipeline.batch(step * BATCH, batch_size=BATCH)
            taken.append(time.perf_counter() - begin)
    medians = {step: statistics.median(taken) * 1e3 for step, taken in times.items()}
    print(f"first batch at step 1: {medians[1]:.1f} ms, at step 10^9: {medians[10**9]:.1f} ms (medians)")


MEASUREMENTS = {"throughput": measure_throughput, "memory": measure_memory, "seek": measure_seek}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seqio-python", help="Python of an environment with seqio and t5")
    parser.add_argument("--only", choices=MEASUREMENTS, help="one measurement; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round")
    parser.add_argument("--tokens", type=int, default=5_000_000, help="of the store for throughput")
    parser.add_argument("--batches", type=int, default=500, help="that the memory measurement reads")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        return be_peer(arguments.peer, arguments.directory)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    if arguments.read:
        print(json.dumps(read_store(arguments.read, arguments.batches)))
        return None
    with tempfile.TemporaryDirectory() as directory:
        for name, measure in MEASUREMENTS.items():
            if arguments.only in (None, name):
                measure(arguments, Path(directory))
    return None


if __name__ == "__main__":
    main()
