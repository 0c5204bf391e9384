"""A proxy before a server of object storage that answers as a bad day does."""

import contextlib
import http.client
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["401", "403", "429", "500", "503", "SlowDown", "cut", "late", "trickle", "silent"]
"""Answers of that status, or as S3 does when it is asked too often; or: closes the connection without a
word; answers after ``late_seconds``; sends a byte every ``trickle_seconds``; takes the request and never
answers."""

_HOP = {"connection", "transfer-encoding", "content-length", "host"}


class FaultyProxy:
    """What the proxy does with the requests that come next.

    Attributes:
      url: where it listens.
      faults: of the next requests, one each.
      always: of every request, after those.
      late_seconds: before the answer of a ``late`` one.
      trickle_seconds: between two bytes of a ``trickle``.
      seen: requests until now.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self.late_seconds, self.trickle_seconds = 0.3, 0.1
        self.seen = 0
        self.closed = threading.Event()
        self._lock = threading.Lock()

    def next_fault(self) -> Fault | None:
        with self._lock:
            self.seen += 1
            return self.faults.pop(0) if self.faults else self.always


@contextlib.contextmanager
def faulty_proxy(server: str) -> Iterator[FaultyProxy]:
    """Yield a proxy before the server of that URL."""
    host = urllib.parse.urlsplit(server).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # whose clients may ask whether to send the body at all

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            match proxy.next_fault():
                case None:
                    self._answer(body)
                case "cut":
                    self.close_connection = True  # without a word
                case "silent":
                    proxy.closed.wait()
                    self.close_connection = True
                case "late":
                    proxy.closed.wait(proxy.late_seconds)
                    self._answer(body)
                case "trickle":
                    self._answer(body, pause=proxy.trickle_seconds)
                case "SlowDown":
                    self._refuse(503, b"<Error><Code>SlowDown</Code><Message>Slow down.</Message></Error>")
                case status:
                    self._refuse(int(status))

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _forward

        def _refuse(self, status: int, content: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def _answer(self, body: bytes, pause: float = 0.0) -> None:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            with contextlib.closing(http.client.HTTPConnection(host)) as connection:
                connection.request(self.command, self.path, body, {**headers, "Host": host})
                answer = connection.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value.replace(server, proxy.url))
            size = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", size or "0")
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # whoever waits no more is gone
                for start in range(0, len(content), 1 if pause else len(content) or 1):
                    self.wfile.write(content[start : start + 1] if pause else content)
                    proxy.closed.wait(pause)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

    with Listener(("127.0.0.1", 0), Handler) as listener:
        proxy = FaultyProxy(f"http://127.0.0.1:{listener.server_port}")
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.closed.set()
            listener.shutdown()
            thread.join()
