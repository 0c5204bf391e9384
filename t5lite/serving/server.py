"""The server: an address that is taken before anything is loaded, and an end that every client is told of."""

import errno
import socket
from types import FrameType

import uvicorn

from t5lite.core.errors import ConfigError
from t5lite.serving.app import CompletionsApp
from t5lite.serving.engine import Engine

_GRACE_SECONDS = 5
"""Until connections that are still open are cut, after the engine was stopped."""


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Args:
      host: name or number.
      port: 0 takes a free one.

    Raises:
      ConfigError: if the address is taken or is none of this machine's.
    """
    if not 0 <= port < 1 << 16:
        raise ConfigError(f"port={port} must be in 0..65535; 0 takes a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"host={host!r} is no address of this machine ({error}); try 127.0.0.1") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise ConfigError(_taken(host, port, error)) from None  # of the address, not of the machine
    return listening


class Server(uvicorn.Server):
    """Serves an application until it is told to stop; then the engine stops first, and so every stream ends.

    Args:
      app: the application.
      engine: what it writes with; started and stopped here.
    """

    def __init__(self, app: CompletionsApp, engine: Engine):
        self._engine = engine
        super().__init__(
            uvicorn.Config(
                app.application,
                access_log=False,
                lifespan="off",
                log_level="warning",
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take Ctrl-C or SIGTERM."""
        self._engine.stop()
        super().handle_exit(sig, frame)

    def serve_on(self, listening: socket.socket) -> None:
        """Serve until told to stop."""
        self._engine.start()
        try:
            self.run(sockets=[listening])
        finally:
            self._engine.stop()
            self._engine.join()
            listening.close()


def url(listening: socket.socket) -> str:
    """Return the address as a client is given it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _taken(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; give another by --port, or 0 for a free one"
    if error.errno == errno.EACCES:
        return f"port {port} of {host} is the system's ({error.strerror}); give one from 1024 on by --port"
    return f"port {port} of {host} cannot be listened at ({error.strerror}); give another --host or --port"
