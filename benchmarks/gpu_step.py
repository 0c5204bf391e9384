"""Train steps and decoding on one GPU, t5lite beside transformers in PyTorch, in under ten minutes.

T5 1.1 base and large, BERT base and GPT-2 train in bfloat16 over float32 parameters with AdamW and without
dropout; T5 1.1 base writes 64 tokens for each of 16 inputs of 128 by greedy search. All sides of a case have
the same parameters and the same random batch, so losses must agree, as far as bfloat16 goes. Each has a
process of its own. They build side by side (XLA one after the other, since it times kernels on the device),
then take turns of about a second until every one has had five, or the case has used its part of the time. The
table is written anew after every round, so a run that is stopped keeps what it has.

    benchmarks/gpu_step.sh                  # with a python3 that has JAX for CUDA and PyTorch
    benchmarks/gpu_step.sh --install        # makes .venv-gpu with both first: pip alone, about 8 GB
    benchmarks/gpu_step.sh --tiny           # the same code on a CPU, with very small models: about a minute

MFU is relative to the dense bfloat16 peak of the card's data sheet, and counts attention in full where it is
causal, too. Memory is the most that arrays took on the device, as each framework counts it.
"""

import argparse
import dataclasses
import datetime
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

# The parent initialises models, and leaves the GPU to its sides.
os.environ.update(JAX_PLATFORMS="cpu", XLA_PYTHON_CLIENT_PREALLOCATE="false")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu_sides import Built, Side, Turn, serve
from benchmarks.train_step import Work, write_model

NEEDED = (
    "cattrs",
    "flatbuffers",
    "flax",
    "jax",
    "ml_dtypes",
    "numpy",
    "optax",
    "safetensors",
    "sentencepiece",
    "tensorstore",
    "torch",
    "transformers",
    "zstandard",
)
"""What the sides import; t5lite itself need not be installed."""
VERSIONS = ("jax", "jaxlib", "flax", "torch", "transformers")
MISSING_CUDA = "JAX has no CUDA plugin here: pip install 'jax[cuda13]' (or benchmarks/gpu_step.sh --install)"
COLUMNS = (
    "case",
    "side",
    "ms, median (range)",
    "tokens/s",
    "MFU",
    "memory, GiB",
    "t5lite's speed",
    "loss",
    "ready after",
)
ROUNDS = 5
BUILDING_SHARE = 0.7
"""Of a case's time, after which sides that are not ready are left out."""


def missing(*, tiny: bool) -> str | None:
    """Return what keeps this environment from running the cases, and its remedy."""
    absent = [name for name in NEEDED if util.find_spec(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}; pip install {' '.join(absent)}"
    if tiny:
        return None
    if util.find_spec("jax_plugins") is None:
        return MISSING_CUDA
    return None


PROBES = {
    "JAX": "import jax; print(jax.devices('cuda')[0].device_kind)",
    "PyTorch": "import torch; torch.cuda.init(); print(torch.cuda.get_device_name())",
}


def card(*, tiny: bool) -> str:
    """Return the name of the device that both packages see.

    Raises:
      SystemExit: if one of them sees none, with the last line of what it says.
    """
    if tiny:
        return "cpu"
    environment = os.environ | {"JAX_PLATFORMS": "cuda"}
    probes = {
        package: subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for package, code in PROBES.items()
    }
    names = {}
    for package, process in probes.items():
        out, err = process.communicate()
        if process.returncode:
            raise SystemExit(f"{package} finds no GPU: {(err.strip().splitlines() or [''])[-1]}")
        names[package] = out.strip().splitlines()[-1]
    return names["JAX"]


T5LITE = Side(name="t5lite", package="jax", attention="auto")
CUDNN = Side(name="t5lite, cuDNN attention", package="jax", attention="cudnn")
REFERENCE = Side(name="t5lite, reference attention", package="jax", attention="reference")
SDPA = Side(name="PyTorch, sdpa", package="torch", attention="sdpa")
COMPILED = Side(name="PyTorch, sdpa, compiled", package="torch", attention="sdpa", compiled=True)
EAGER = Side(name="PyTorch, eager attention", package="torch", attention="eager")
STATIC = dataclasses.replace(COMPILED, name="PyTorch, sdpa, static cache, compiled")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One model and one batch."""

    name: str
    preset: str
    batch_size: int
    encoder_length: int
    decoder_length: int
    sides: tuple[Side, ...] = (T5LITE, REFERENCE, SDPA, COMPILED, EAGER)
    new_tokens: int = 0
    """To write after each row instead of training."""

    @property
    def num_tokens(self) -> int:
        """What a run trains on, or writes."""
        return self.batch_size * (self.new_tokens or self.encoder_length + self.decoder_length)

    def work(self, folder: str) -> Work:
        """Return what the sides are given."""
        return Work(
            folder=folder,
            batch_size=self.batch_size,
            encoder_length=self.encoder_length,
            decoder_length=self.decoder_length,
        )

    def tiny(self) -> "Case":
        """Return the same case at a size for a CPU."""
        return dataclasses.replace(
            self,
            batch_size=2,
            encoder_length=self.encoder_length and 32,
            decoder_length=self.decoder_length and 16,
            new_tokens=self.new_tokens and 8,
        )


CASES = (
    Case(name="BERT base, training", preset="bert-base", batch_size=32, encoder_length=512, decoder_length=0),
    Case(name="GPT-2, training", preset="gpt2", batch_size=32, encoder_length=0, decoder_length=512),
    Case(
        name="T5 1.1 base, decoding",
        preset="t5-1.1-base",
        batch_size=16,
        encoder_length=128,
        decoder_length=64,
        sides=(T5LITE, SDPA, STATIC),
        new_tokens=64,
    ),
    Case(
        name="T5 1.1 base, training",
        preset="t5-1.1-base",
        batch_size=32,
        encoder_length=512,
        decoder_length=114,
        sides=(T5LITE, CUDNN, REFERENCE, SDPA, COMPILED, EAGER),
    ),
    Case(
        name="T5 1.1 large, training",
        preset="t5-1.1-large",
        batch_size=16,
        encoder_length=512,
        decoder_length=114,
        sides=(T5LITE, REFERENCE, SDPA, COMPILED),
    ),
)
TINY: dict[str, Any] = {"embed_dim": 64, "num_heads": 2, "head_dim": 32, "mlp_dim": 96, "vocab_size": 384}


class Running:
    """A side's process, and what it has said."""

    def __init__(self, side: Side, case: Case, work: Work, architecture: str):
        self.side = side
        self.built: Built | None = None
        self.fault: str | None = None
        self.turns: list[Turn] = []
        self.connection, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(
            target=serve,
            args=(side, work, architecture, case.new_tokens, theirs),
            daemon=True,
        )
        self.process.start()
        theirs.close()

    def hear(self, deadline: float) -> Any:
        """Return what the process says next; None if it is not said in time, or has said what is wrong."""
        try:
            if not self.connection.poll(max(0.0, deadline - time.monotonic())):
                self.end("not done in the time that the case had")
                return None
            said = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join(10)
            self.end(f"its process ended with code {self.process.exitcode}")
            return None
        if isinstance(said, str):
            self.end(said)
            return None
        return said

    def end(self, fault: str | None = None) -> None:
        """End the process: at once for a fault, of itself if all is done."""
        self.fault = self.fault or fault
        if self.ready:
            self.connection.send(False)
            self.process.join(10)
        self.process.kill()
        self.process.join()
        self.connection.close()

    @property
    def ready(self) -> bool:
        """Whether it can take a turn."""
        return self.built is not None and self.fault is None


def run_case(case: Case, running: Sequence[Running], end: float, report: "Report") -> None:
    """Wait until the sides are built, then let them take turns.

    Args:
      case: what they compute.
      running: their processes.
      end: when to stop, on ``time.monotonic``'s clock.
      report: written after every round.
    """
    now = time.monotonic()
    built_by = now + BUILDING_SHARE * (end - now)
    waiting: dict[Connection, Running] = {each.connection: each for each in running}
    while waiting:
        heard = wait(list(waiting), max(0.0, built_by - time.monotonic()))
        for each in [waiting.pop(connection) for connection in heard] if heard else waiting.values():
            each.built = each.hear(built_by)
            said = f"built in {each.built.seconds:.0f} s" if each.built else each.fault
            print(f"{case.name}: {each.side.name}: {said}", flush=True)
        if not heard:
            break
    longest = 0.0
    for _ in range(ROUNDS):
        start = time.monotonic()
        if start + longest > end:
            break
        for each in running:
            if each.ready:
                each.connection.send(True)
                turn = each.hear(max(end, time.monotonic() + 10))
                each.turns += [turn] if turn else []
        longest = max(longest, time.monotonic() - start)
        report.write()


class Report:
    """The table, in a file that is written anew whenever something is known."""

    def __init__(self, path: Path, device_kind: str, *, tiny: bool):
        from t5lite.training.hardware import device_peak

        self.path = path
        self.peak = device_peak("cpu" if tiny else "gpu", device_kind)
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in VERSIONS)
        peak = "no peak known" if self.peak is None else f"{self.peak.flops_per_second / 1e12:.3g} TFLOP/s"
        source = "" if self.peak is None else f" ({self.peak.source})"
        self.lines = [
            f"{device_kind}, {peak}{source}; {versions}; Python {sys.version.split()[0]}; "
            f"{datetime.date.today()}",
            "",
        ]
        self.cases: list[tuple[Case, float, Sequence[Running]]] = []

    def add(self, case: Case, config: Any, running: Sequence[Running]) -> None:
        """Add a case that begins."""
        from t5lite.models.flops import train_step_flops

        flops = train_step_flops(
            config,
            batch_size=case.batch_size,
            encoder_length=case.encoder_length,
            decoder_length=case.decoder_length,
        )
        self.cases.append((case, 0.0 if case.new_tokens else flops, running))

    def write(self) -> None:
        """Write what is known."""
        lines = [
            *self.lines,
            f"| {' | '.join(COLUMNS)} |",
            "|---|---|" + "---:|" * (len(COLUMNS) - 2),
        ]
        for case, flops, running in self.cases:
            medians = {each.side.name: _median(each) for each in running}
            lines += [self._row(case, flops, each, medians) for each in running]
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _row(self, case: Case, flops: float, each: Running, medians: Mapping[str, float | None]) -> str:
        shape = f"{case.batch_size} x {case.encoder_length or case.decoder_length}"
        if case.encoder_length and case.decoder_length:
            shape += f" → {case.decoder_length}"
        cells = [f"{case.name}, {shape}", each.side.name]
        median, ours = medians[each.side.name], medians.get(T5LITE.name)
        if each.built is None or median is None:
            return f"| {' | '.join([*cells, each.fault or 'no turn yet'])} |" + " |" * (len(COLUMNS) - 3)
        seconds = [turn.seconds_a_run for turn in each.turns]
        peak_bytes = each.turns[-1].peak_bytes
        cells += [
            f"{1e3 * median:.1f} ({1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f})",
            f"{case.num_tokens / median:,.0f}",
            f"{flops / median / self.peak.flops_per_second:.1%}" if flops and self.peak else "",
            "" if peak_bytes is None else f"{peak_bytes / 2**30:.1f}",
            "" if ours is None or each.side is T5LITE else f"{median / ours:.2f}x",
            f"{each.built.result:.4f}" if flops else "",
            f"{each.built.seconds:.0f} s" + (f"; then {each.fault}" if each.fault else ""),
        ]
        return f"| {' | '.join(cells)} |"


def _median(each: Running) -> float | None:
    return statistics.median(turn.seconds_a_run for turn in each.turns) if each.turns else None


def check_results(case: Case, running: Sequence[Running]) -> None:
    """Say so if sides that were given the same work have not done the same."""
    results = {each.side.name: each.built.result for each in running if each.built is not None}
    if results and max(results.values()) - min(results.values()) > 0.01 * abs(min(results.values())):
        print(f"{case.name}: the results differ, {json.dumps(results)}: not the same computation", flush=True)


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="very small models, on a CPU")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all cases together")
    parser.add_argument("--cases", nargs="+", default=[], help="beginnings of names; all if none is given")
    parser.add_argument("--batch-size", type=int, help="instead of each case's own")
    parser.add_argument("--out", type=Path, default=Path("gpu_step.md"), help="the table")
    arguments = parser.parse_args()
    tiny = arguments.tiny
    end = time.monotonic() + 60 * arguments.minutes
    fault = missing(tiny=tiny)
    if fault:
        raise SystemExit(fault)
    cases = [case for case in CASES if not arguments.cases or case.name.startswith(tuple(arguments.cases))]
    if not cases:
        raise SystemExit(f"--cases: none begins so; there are {', '.join(case.name for case in CASES)}")
    report = Report(arguments.out, card(tiny=tiny), tiny=tiny)
    print(report.lines[0], flush=True)
    for number, case in enumerate(cases):
        if arguments.batch_size:
            case = dataclasses.replace(case, batch_size=arguments.batch_size)
        now = time.monotonic()
        case_end = now + (end - now) / (len(cases) - number)
        case = case.tiny() if tiny else case
        with tempfile.TemporaryDirectory() as folder:
            config = write_model(case.preset, 2 if tiny else None, folder, **(TINY if tiny else {}))
            print(f"{case.name}: parameters written, {time.monotonic() - now:.0f} s", flush=True)
            os.environ["JAX_PLATFORMS"] = "cpu" if tiny else "cuda"
            work = case.work(folder)
            running = [Running(side, case, work, config.architecture) for side in case.sides]
            os.environ["JAX_PLATFORMS"] = "cpu"
            report.add(case, config, running)
            try:
                run_case(case, running, case_end, report)
            finally:
                for each in running:
                    each.end()
                report.write()
            check_results(case, running)
    print(arguments.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
