"""Entry point of ``t5lite``: picks the subcommand and turns a user's mistake into one line.

Only the chosen subcommand is imported, so ``t5lite --help`` never pays for JAX.
"""

import contextlib
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from t5lite import __version__
from t5lite.cli import standard_streams
from t5lite.cli.log import show_notices
from t5lite.core import machine_errors
from t5lite.core.errors import suggestion
from t5lite.core.exit_codes import ExitCode
from t5lite.core.process_end import end_soon
from t5lite.cpu.malloc import restart_with_tuned_malloc

COMMANDS = {
    "quickstart": "the whole road on embedded text: vocabulary, pretraining, fine-tuning, export, report",
    "prepare": "turn raw text or text pairs into a vocabulary and token stores",
    "compile": "say whether a recipe fits TPUs or GPUs that are not here, and how fast it can be",
    "train": "pretrain or fine-tune by a recipe; run it again to resume",
    "launch": "start a run on Cloud TPU, GKE, Slurm, hosts by ssh, or several local processes",
    "status": "how runs stand and what they cost, from their files",
    "evaluate": "measure a run on held-out data",
    "compare": "set runs side by side: size, cost, metrics with intervals; which to use under a budget",
    "generate": "let a run write",
    "embed": "vectors of texts by a run, for retrieval and comparison",
    "serve": "let a run write for OpenAI's clients, to try it",
    "harness": "measure a run by EleutherAI's lm-evaluation-harness",
    "export": "write a run's weights as a Hugging Face folder",
    "import": "read a Hugging Face folder into a run directory",
    "plan": "find the mesh, remat and microbatches that train a model fastest on a TPU slice",
    "cost": "what recipes and sweeps would take on a slice: memory, days, chip-hours and money",
    "sweep": "train every run of a sweep that is not done; several machines may share one",
    "scaling": "count parameters and FLOPs; fit scaling laws to a table of finished runs",
    "models": "list the published model shapes, or show one",
    "tasks": "list the tasks that a model can be trained for, or show one",
    "inspect-data": "show what a recipe, a run or a store would feed to a model",
    "report": "one page of runs, sweeps and tables: curves, laws, predictions; or a quickstart's again",
}

_COMPUTING = ("quickstart", "train", "evaluate", "generate", "embed", "serve", "harness")
_LONGEST_MESSAGE = 20_000
_BUG = 1
"""Python's exit code for a traceback."""


def run_as_process() -> NoReturn:
    """Run ``t5lite`` as what this process is for, and end it with the exit code.

    What made the command end may not answer at the end, either, nor may threads of a save that failed: so the
    time until the process has gone is bounded.
    """
    standard_streams.secure()
    show_notices()  # also those of what runs when the interpreter ends
    try:
        code = main()
    except Exception:  # a bug, whose traceback Python prints before it waits for threads
        end_soon(_BUG)
        with contextlib.suppress(OSError):  # the reader may have gone, too
            sys.stdout.flush()
        raise
    end_soon(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``t5lite`` and return its exit code, one of ``ExitCode``; it raises what is a bug."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None and arguments and arguments[0] in _COMPUTING:
        restart_with_tuned_malloc()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name that is not UTF-8 must not undo finished work
            stream.reconfigure(errors="backslashreplace")
    show_no_more = show_notices()
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the flush at exit fail
        return 0
    finally:
        show_no_more()


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"t5lite: unknown command {name!r}{suggestion(name, COMMANDS)}", file=sys.stderr)
        return ExitCode.USER_ERROR
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's C++ notices drown the progress line
    try:
        return _imported(f"t5lite.cli.{name.replace('-', '_')}_command").run(rest)
    except KeyboardInterrupt:
        print(f"t5lite {name}: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and standard_streams.reader_is_gone():
            raise
        told = _explained(error)
        code = machine_errors.exit_code(told)
        if code is None:
            raise
        return _fail(name, machine_errors.description(told), code)


def _imported(module: str) -> ModuleType:
    """Import a command with all that it needs, which stays until the end: it is not searched for garbage.

    Else the collector goes through it again and again, while it is imported and while a step is traced: an
    eighth of the one, a sixth of the other.
    """
    if module in sys.modules:
        return sys.modules[module]
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _explained(error: Exception) -> Exception:
    """Return what to say of an error, of the devices where there are any: only who uses JAX pays for it."""
    if "jax" not in sys.modules:
        return error
    from t5lite.partitioning.lost_processes import explained

    return explained(error)


def _fail(command: str, message: str, code: ExitCode) -> int:
    one_line = " ".join(line.strip() for line in message.splitlines())
    if len(one_line) > _LONGEST_MESSAGE:  # which quotes a damaged file
        one_line = f"{one_line[:_LONGEST_MESSAGE]}… ({len(one_line):,} characters)"
    print(f"t5lite {command}: {one_line}", file=sys.stderr)
    return code


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "t5lite: pretrain, fine-tune, evaluate and export Transformers in JAX at TPU scale",
            "",
            "usage: t5lite COMMAND [options]     t5lite COMMAND --help",
            "",
            *lines,
            "",
            "exit codes: 0 done; 2 a mistake in what was given; 3 does not fit; 4 the numbers went bad;",
            "  start again after 75 (machine, disk, network, another process) and 76 (stuck);",
            "  128 + signal after a signal: 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM; train has saved then",
            "",
            "start here: t5lite quickstart",
        ]
    )


if __name__ == "__main__":
    run_as_process()
