"""``t5lite serve``: try a model through OpenAI's completions API."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util

from t5lite.checkpointing.reading import Step
from t5lite.cli import one_process, xla
from t5lite.core import command_line
from t5lite.core.errors import ConfigError
from t5lite.core.home import expand_fields
from t5lite.runner.int8_weights import Weights


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Answer OpenAI's requests for completions, also as streams, in one process: for trying a model.

    Requests that wait are written together. There are no keys: whoever reaches the address may ask.
    """

    run: str
    """Run directory."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 is every one of this machine."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    name: str | None = None
    """Model that requests name; by default that of the run directory."""
    step: Step = "newest"
    """Checkpoint: the number of its step, newest, or best (on held-out data)."""
    weights: Weights | None = None
    """int8 holds the kernels of layers in a quarter of the memory, rounded; by default as they were saved."""
    encoder_length: int | None = None
    """Most tokens of a prompt; longer ones are refused. By default as of generate."""
    max_decode_length: int | None = None
    """Most tokens that a request may ask for, by default as of generate; a decoder-only model divides the
    sum of both among prompt and text as a request needs it."""
    batch_size: int = 8
    """Texts that are written at once."""
    max_waiting: int = 128
    """Texts that may wait beside them, and that one request may ask for; more are told to try later."""

    def __post_init__(self):
        expand_fields(self, "run")
        for name in ("batch_size", "max_waiting"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be 1 or more")


def run(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C."""
    parsed = command_line.parse(Arguments, arguments, prog="t5lite serve")
    for module in ("starlette", "uvicorn"):
        if util.find_spec(module) is None:
            raise ConfigError(f"{module} is not installed; pip install 't5lite[serve]'")
    from t5lite.serving.app import CompletionsApp
    from t5lite.serving.engine import Engine
    from t5lite.serving.served import load_served
    from t5lite.serving.server import Server, bound_socket, url

    listening = bound_socket(parsed.host, parsed.port)
    with listening:
        one_process.say_so()
        xla.configure()
        served = load_served(
            parsed.run,
            name=parsed.name,
            step=parsed.step,
            weights=parsed.weights,
            encoder_length=parsed.encoder_length,
            max_decode_length=parsed.max_decode_length,
        )
        engine = Engine(
            served.generator,
            served.params,
            batch_size=parsed.batch_size,
            max_waiting=parsed.max_waiting,
        )
        app = CompletionsApp(served, engine, max_choices=parsed.max_waiting)
        print(
            f"t5lite serve: {served.name}, step {served.step}, at {url(listening)} (Ctrl-C ends it)",
            file=sys.stderr,
            flush=True,
        )
        Server(app, engine).serve_on(listening)
    return 0
