"""Seconds of generation by t5lite, by transformers (PyTorch) and by CTranslate2, in turn, on CPU.

All decode the same inputs with the same random weights in float32, greedily or by beam search, and none may
end early: EOS is banned. The rows that the sides agree on are counted; a side that agrees on fewer than nine
of ten ends the run (of random weights, some logits are as good as equal). transformers runs ``generate`` as
its users run it, CTranslate2 its converter's output with as many threads as there are cores. t5lite runs what
its commands run, with the XLA flags and memory pages that they set. Each side has a process of its own and
decodes the batch once before the first turn; they take turns, so that they see the same load. What is printed
is wall time and CPU time (of all threads) of a batch.

    python benchmarks/decoding_speed.py
    python benchmarks/decoding_speed.py --num-beams 4
    python benchmarks/decoding_speed.py --breakdown

Needs the packages of the ``test`` extra (torch, transformers, ctranslate2).
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.train_step import start, write_model

AGREEMENT = 0.9
_EOS_ID = 1
Decode = Callable[[], np.ndarray]
"""Decodes the batch and returns its tokens, ``[B, L]``."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every side decodes."""

    folder: str
    """A Hugging Face folder."""
    batch_size: int
    encoder_length: int
    decoder_length: int
    num_beams: int
    """1: greedy search."""

    def inputs(self, vocab_size: int) -> np.ndarray:
        """Return random ids without padding."""
        shape = (self.batch_size, self.encoder_length)
        return np.random.default_rng(0).integers(2, vocab_size, shape).astype(np.int32)


def t5lite_side(work: Work) -> tuple[Decode, str]:
    """Return t5lite's search, compiled, and the program's text."""
    from t5lite.cli import xla

    xla.configure()
    import jax

    from t5lite.cpu.flags import options_of_decoding
    from t5lite.decoding import AnsweringDecoder, Beam, Greedy, Search, run_search
    from t5lite.interop.huggingface import import_folder
    from t5lite.models.functional import build

    config, params = import_folder(Path(work.folder))
    model, params = build(config), jax.device_put(params)
    tokens_BM = work.inputs(config.vocab_size)
    strategy = Greedy() if work.num_beams == 1 else Beam(num_beams=work.num_beams)
    search = Search(
        max_decode_length=work.decoder_length,
        eos_id=None,
        known_V=np.arange(config.vocab_size) != _EOS_ID,
    )

    def decode(params: Any, tokens_BM: jax.Array) -> jax.Array:
        decoder = AnsweringDecoder(model.bind_for_decoding(params), work.decoder_length)
        return run_search(decoder, tokens_BM, None, strategy=strategy, search=search).tokens_RL

    options = options_of_decoding(model.execution.compute_dtype)
    compiled = jax.jit(decode, compiler_options=options).lower(params, tokens_BM).compile()
    return lambda: np.asarray(compiled(params, tokens_BM)), compiled.as_text() or ""


def transformers_side(work: Work) -> tuple[Decode, str]:
    """Return transformers' ``generate``."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(work.folder).eval()
    ids = torch.tensor(work.inputs(model.config.vocab_size), dtype=torch.long)
    lengths = {"min_new_tokens": work.decoder_length, "max_new_tokens": work.decoder_length}
    options = {**lengths, "num_beams": work.num_beams}

    def decode() -> np.ndarray:
        with torch.inference_mode():
            mask = torch.ones_like(ids)
            return model.generate(input_ids=ids, attention_mask=mask, do_sample=False, **options)[
                :, 1:
            ].numpy()

    return decode, ""


def ctranslate2_side(work: Work) -> tuple[Decode, str]:
    """Return CTranslate2's ``translate_batch`` of the converted folder."""
    import ctranslate2
    import transformers

    config = transformers.AutoConfig.from_pretrained(work.folder)
    tokens = [f"<{number}>" for number in range(config.vocab_size)]
    numbers = {token: number for number, token in enumerate(tokens)}

    class Tokenizer:
        """A name for every id, which is all that the converter asks of a tokenizer."""

        pad_token, eos_token, unk_token = tokens[:3]

        def get_vocab(self) -> dict[str, int]:
            return numbers

        def convert_ids_to_tokens(self, number: int) -> str:
            return tokens[number]

    class Converter(ctranslate2.converters.TransformersConverter):
        """Tells T5 1.1 from 1.0, as docs/downstream.md explains."""

        def load_model(self, *arguments: Any, **options: Any) -> Any:
            model = super().load_model(*arguments, **options)
            model.config.tie_word_embeddings = getattr(model.config, "scale_decoder_outputs", False)
            return model

        def load_tokenizer(self, *_: Any, **__: Any) -> Tokenizer:
            return Tokenizer()

    converted = Converter(work.folder).convert(f"{work.folder}-converted")
    threads = len(os.sched_getaffinity(0))
    translator = ctranslate2.Translator(converted, intra_threads=threads, compute_type="float32")
    rows = [[tokens[number] for number in row] for row in work.inputs(config.vocab_size).tolist()]
    lengths = {"min_decoding_length": work.decoder_length, "max_decoding_length": work.decoder_length}

    def decode() -> np.ndarray:
        results = translator.translate_batch(rows, beam_size=work.num_beams, **lengths)
        return np.array([[numbers[token] for token in result.hypotheses[0]] for result in results])

    return decode, ""


SIDES: Mapping[str, Callable[[Work], tuple[Decode, str]]] = {
    "t5lite": t5lite_side,
    "transformers": transformers_side,
    "ctranslate2": ctranslate2_side,
}


class Turn(NamedTuple):
    """One batch of one side."""

    wall: float
    cpu: float
    """Seconds of all threads."""
    tokens: np.ndarray


def serve(side: str, work: Work, connection: Connection) -> None:
    """Make one side and say so, then answer each "decode" with a ``Turn`` until the parent is gone."""
    decode, hlo = SIDES[side](work)
    decode()  # compiles, allocates
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while order := connection.recv():
            if order == "breakdown":
                from benchmarks.thunk_times import thunk_times

                connection.send(thunk_times(lambda: float(decode().sum()), hlo))
                continue
            wall, cpu = time.perf_counter(), time.process_time()
            tokens = decode()
            connection.send(Turn(time.perf_counter() - wall, time.process_time() - cpu, tokens))


def check_agreement(turns: Mapping[str, list[Turn]]) -> None:
    """Print how many of t5lite's rows the other sides have too; stop if that is not most of them."""
    own = turns["t5lite"][-1].tokens
    for side, others in list(turns.items())[1:]:
        same = np.mean(np.all(others[-1].tokens == own, axis=1))
        if same < AGREEMENT:
            raise SystemExit(
                f"{side} gave other tokens in {1 - same:.0%} of the rows: not the same computation"
            )
        print(f"{side}: {same:.0%} of the rows token for token as t5lite's")


def report(turns: Mapping[str, list[Turn]]) -> None:
    """Print medians, and how many times t5lite's the others take."""
    medians = {
        side: [statistics.median(getattr(turn, kind) for turn in each) for kind in ("wall", "cpu")]
        for side, each in turns.items()
    }
    print("| | wall, s | times t5lite | CPU, s | times t5lite |\n|---|---:|---:|---:|---:|")
    for side, (wall, cpu) in medians.items():
        ours = medians["t5lite"]
        print(f"| {side} | {wall:.2f} | {wall / ours[0]:.2f} | {cpu:.2f} | {cpu / ours[1]:.2f} |")


def main() -> None:
    """Run the turns; print every one, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--preset", default="t5-1.1-small")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--encoder-length", type=int, default=128)
    parser.add_argument("--decoder-length", type=int, default=64)
    parser.add_argument("--num-beams", type=int, default=1)
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--breakdown", action="store_true", help="print where t5lite's time goes")
    arguments = parser.parse_args()
    names = ("batch_size", "encoder_length", "decoder_length", "num_beams")
    shape = {name: getattr(arguments, name) for name in names}
    names = ["t5lite", *(side for side in arguments.sides if side != "t5lite")]
    with tempfile.TemporaryDirectory() as directory:
        work = Work(folder=f"{directory}/model", **shape)
        write_model(arguments.preset, None, work.folder)
        sides = {side: start(side, work, target=serve) for side in names}
        for connection in sides.values():
            connection.recv()  # no turn is timed while another side still loads or compiles
        turns: dict[str, list[Turn]] = {side: [] for side in sides}
        print(f"{arguments.preset}, {shape}, {os.cpu_count()} cores")
        for number in range(1, arguments.turns + 1):
            for side, connection in sides.items():
                connection.send("decode")
                turns[side].append(connection.recv())
            spent = (f"{side} {each[-1].wall:.2f} s ({each[-1].cpu:.2f})" for side, each in turns.items())
            print(f"turn {number}: {', '.join(spent)}", flush=True)
        check_agreement(turns)
        report(turns)
        if arguments.breakdown:
            sides["t5lite"].send("breakdown")
            for kind, share in sides["t5lite"].recv().items():
                print(f"{share:6.1%}  {kind}")


if __name__ == "__main__":
    main()
