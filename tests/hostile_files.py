"""Damages real small files of every kind that others make, and reads them, with a bounded memory.

Run as a process of its own (an abort ends it): ``python -m tests.hostile_files EXAMPLES [KIND ...]``. It
prints a line for each kind whose every damaged copy was read, or refused by an error that is reported.
"""

import faulthandler
import functools
import gzip
import json
import os
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import zstandard
from array_record.python.array_record_module import ArrayRecordWriter
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ReportedError
from t5lite.core.json_text import parse_json
from t5lite.data.prepare import write_pair_store, write_text_store
from t5lite.data.reading.input_files import FORMATS, find_input_files
from t5lite.data.reading.text_files import read_texts
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import ByteVocabulary, open_vocabulary, train_vocabulary
from t5lite.interop import huggingface, t5x
from t5lite.interop.huggingface import export_folder, read_usage
from t5lite.models.config import EncoderDecoderConfig, RelativePositions
from tests import hostile_runs
from tests.small_folders import CONFIGS, exported, make_params
from tests.small_tokenizers import write_bpe, write_wordpiece
from tests.stand_ins import STAND_INS, removed
from tests.t5x_writer import random_params, target_of, write_msgpack_checkpoint, write_orbax_checkpoint

MEMORY_BYTES = 1 << 30
"""What reading may take beside what the process had before; no file has 1 MiB."""
PATIENCE_SECONDS = 60.0
"""What reading may take; it takes tenths of a second."""
_T5 = EncoderDecoderConfig(
    vocab_size=24, embed_dim=16, mlp_dim=20, head_dim=6, num_heads=3, num_encoder_layers=2,
    num_decoder_layers=2, positions=RelativePositions(num_buckets=8),
)  # fmt: skip
_TEXTS = [f"Text number {number} says {'this and that ' * (number % 7)}." for number in range(60)]


class Kind(NamedTuple):
    """Files of one kind: what writes them into a folder, and what reads all that is in it."""

    write: Callable[[Path], object]
    read: Callable[[Path], object]


def _write_vocabulary(folder: Path) -> None:
    train_vocabulary(_TEXTS, folder / "spiece.model", size=37)


def _use_vocabulary(folder: Path) -> None:
    vocabulary = open_vocabulary(folder)
    vocabulary.decode(vocabulary.encode_batch([_TEXTS[5], "<extra_id_0> ünknown"], 1)[0])
    vocabulary.encode("a <extra_id_0> b", parse_sentinels=True)


def _write_pytorch(folder: Path) -> None:
    import torch

    from tests.small_folders import state_dict

    exported("gpt2", folder)
    (folder / "model.safetensors").unlink()
    tensors = {name: torch.from_numpy(value.copy()) for name, value in state_dict("gpt2").items()}
    torch.save(tensors, folder / "pytorch_model.bin")


def _import_huggingface(folder: Path) -> None:
    huggingface.import_folder(folder)
    read_usage(folder)


def _read_store(folder: Path) -> None:
    store = TokenStore.open(folder / "store")
    store.vocabulary()
    store.chunks(np.arange(0, store.num_tokens - 8, 7), 8)
    _ = store.document_lengths, store.document(store.num_documents - 1)


def _read_pairs(folder: Path) -> None:
    store = PairStore.open(folder / "store")
    _ = store.target_names(), store.inputs.document_lengths


def _write_tables(folder: Path) -> None:
    rows = [{"text": text} for text in _TEXTS]
    table = pa.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, folder / "a.parquet", compression="zstd")
    (folder / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "c.txt.gz").write_bytes(gzip.compress("\n\n".join(_TEXTS).encode(), mtime=0))
    (folder / "d.txt.zst").write_bytes(zstandard.compress("\n\n".join(_TEXTS).encode()))
    (folder / "e.csv").write_text("text,n\n" + "".join(f'"{text}",1\n' for text in _TEXTS))
    writer = ArrayRecordWriter(str(folder / "f.array_record"), "group_size:1")
    for row in rows:
        writer.write(json.dumps(row).encode())
    writer.close()


def _write_dataset(folder: Path) -> None:
    table = pa.table({"text": _TEXTS})
    (folder / "set").mkdir()
    with pa.ipc.new_stream(folder / "set" / "data-00000.arrow", table.schema) as writer:
        writer.write_table(table)
    files = {"_data_files": [{"filename": "data-00000.arrow"}], "_split": None}
    (folder / "set" / "state.json").write_text(json.dumps(files))
    (folder / "set" / "dataset_info.json").write_text("{}")


def _read_texts(folder: Path) -> None:
    for path in find_input_files((str(folder),), allowed=FORMATS).paths:
        for _ in read_texts([path]):
            pass


def _shards(folder: Path) -> None:
    export_folder(make_params(CONFIGS["gpt2"]), CONFIGS["gpt2"], folder, max_shard_bytes=1000)


def _t5x(folder: Path, **options: Any) -> None:
    write_msgpack_checkpoint(folder / "checkpoint_1", target_of(random_params(_T5)), **options)


def _orbax(folder: Path, **options: Any) -> None:
    write_orbax_checkpoint(folder / "checkpoint_1", target_of(random_params(_T5)), **options)


KINDS = {
    "sentencepiece": Kind(_write_vocabulary, _use_vocabulary),
    "wordpiece": Kind(lambda folder: write_wordpiece(folder, _TEXTS), _use_vocabulary),
    "byte-level BPE": Kind(lambda folder: write_bpe(folder, _TEXTS), _use_vocabulary),
    "Hugging Face T5": Kind(lambda folder: exported("t5", folder), _import_huggingface),
    "Hugging Face BERT": Kind(lambda folder: exported("classifier", folder), _import_huggingface),
    "Hugging Face Llama": Kind(lambda folder: exported("llama", folder), _import_huggingface),
    "safetensors in shards": Kind(_shards, _import_huggingface),
    "pytorch_model.bin": Kind(_write_pytorch, _import_huggingface),
    "T5X msgpack": Kind(_t5x, lambda folder: t5x.import_folder(folder / "checkpoint_1")),
    "T5X zarr": Kind(
        lambda folder: _t5x(folder, stored="mlp"), lambda folder: t5x.import_folder(folder / "checkpoint_1")
    ),
    "Orbax zarr3": Kind(
        lambda folder: _orbax(folder, ocdbt=False, zarr3=True),
        lambda folder: t5x.import_folder(folder / "checkpoint_1"),
    ),
    "Orbax OCDBT": Kind(_orbax, lambda folder: t5x.import_folder(folder / "checkpoint_1")),
    "token store": Kind(
        lambda folder: write_text_store(_TEXTS, ByteVocabulary(), folder / "store"), _read_store
    ),
    "pair store": Kind(
        lambda folder: write_pair_store(
            [(text, "ab"[number % 2]) for number, text in enumerate(_TEXTS)],
            ByteVocabulary(),
            folder / "store",
        ),
        _read_pairs,
    ),
    "tables and texts": Kind(_write_tables, _read_texts),
    "datasets folder": Kind(_write_dataset, _read_texts),
    "run directory": Kind(hostile_runs.write_run, hostile_runs.read_run),
    "checkpoints of a run": Kind(hostile_runs.save_checkpoints, hostile_runs.resume),
    "checkpoints as zarr": Kind(hostile_runs.save_as_zarr, hostile_runs.read_checkpoint),
    "StableHLO export": Kind(hostile_runs.export_programs, hostile_runs.load_programs),
}

_DEEP: Any = 1
for _ in range(900):
    _DEEP = [_DEEP]
_VALUES = [
    *(None, True, -1, 0, 1, 1.5, 1e300, "", "x", "../../x", "/etc/passwd", "\udcff", [], {}, [[]], _DEEP),
    *(10**6, 10**9, 2**31 - 1, 2**31, 2**40, 2**62, 2**64, 10**30, "x" * 10**5, [1] * 1000, [2**40, 2**40]),
]
_BYTES = [
    *(
        b"",
        b"\0",
        b"\xff",
        b"\x80",
        b"\x7f",
        b"\xff" * 8,
        b"\xff" * 9 + b"\x7f",
        b"\xff\xff\xff\x7f",
        b"[" * 2000,
    ),
    *(
        b"\xdd\x7f\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\x7f\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\n",
        b"{",
    ),
    *((2**40).to_bytes(8, "little"), (2**31 - 1).to_bytes(4, "little"), b"\x90" * 5000, b"\x80" * 5000),
]


class Overwritten(NamedTuple):
    """Bytes stand where others were; an empty one cuts the file off there."""

    place: float
    content: bytes

    def __call__(self, content: bytes) -> bytes:
        start = int(self.place * len(content))
        if not self.content:
            return content[:start]
        return content[:start] + self.content + content[start + len(self.content) :]


class Inserted(NamedTuple):
    """Bytes that were not there."""

    place: float
    content: bytes

    def __call__(self, content: bytes) -> bytes:
        start = int(self.place * len(content))
        return content[:start] + self.content + content[start:]


class Rewritten(NamedTuple):
    """Some value in JSON, or in the JSON header of safetensors, is another one; else nothing changes."""

    place: float
    value: Any

    def __call__(self, content: bytes) -> bytes:
        length = int.from_bytes(content[:8], "little")
        header, rest = (
            (content[8 : 8 + length], content[8 + length :]) if length < len(content) else (content, None)
        )
        try:
            document = parse_json(header)
        except ValueError:
            return content
        places = list(_places(document))
        if not places:
            return content
        holder, key = places[int(self.place * len(places))]
        holder[key] = self.value
        if isinstance(document, dict):
            document.pop("index_crc32", None)  # as in a store of before there was one
        text = json.dumps(document).encode()
        return text if rest is None else len(text).to_bytes(8, "little") + text + rest


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(min(len(value), 8)):
            yield value, key
            yield from _places(value[key])


_PLACE = st.floats(0, 1, exclude_max=True)
_DAMAGE = st.one_of(
    st.builds(Rewritten, _PLACE, st.sampled_from(_VALUES)),
    st.builds(Overwritten, _PLACE, st.sampled_from(_BYTES)),
    st.builds(Inserted, _PLACE, st.sampled_from(_BYTES)),
)


def check(kind: Kind, folder: Path, num_examples: int) -> None:
    """Damage files of a folder, one at a time, and read all of it each time."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    @settings(
        max_examples=num_examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate]
    )
    @given(
        file=st.sampled_from(names),
        damages=st.lists(_DAMAGE, min_size=1, max_size=2) | st.sampled_from([*STAND_INS]),
    )
    def every(file: str, damages: list[Any] | str) -> None:
        path = folder / file
        whole = path.read_bytes()
        print("trying", file, damages, file=sys.stderr, flush=True)
        if isinstance(damages, str):
            removed(path)
            STAND_INS[damages](path)
        else:
            path.write_bytes(functools.reduce(lambda content, damage: damage(content), damages, whole))
        faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
        try:
            kind.read(folder)
        except ReportedError:
            pass
        finally:
            faulthandler.cancel_dump_traceback_later()
            removed(path)
            path.write_bytes(whole)

    every()


def main(num_examples: int, chosen: list[str]) -> None:
    """Check all kinds, or those that were chosen."""
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as base:
        folders = {
            name: Path(base, str(number)) for number, name in enumerate(KINDS) if name in (chosen or KINDS)
        }
        for name, folder in folders.items():
            folder.mkdir()
            KINDS[name].write(folder)
            KINDS[name].read(folder)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES,) * 2)
        for name, folder in folders.items():
            try:
                check(KINDS[name], folder, num_examples)
                print("kept:", name, flush=True)
            except BaseException as error:
                print("broken:", name, repr(error)[:500], flush=True)
                traceback.print_exc()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
