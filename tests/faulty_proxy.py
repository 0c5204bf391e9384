"""A proxy before a server of object storage that answers as a bad day does."""

import contextlib
import http.client
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["503", "cut"]

_HOP = {"connection", "transfer-encoding", "content-length", "host"}


class FaultyProxy:
    """What the proxy does with the requests that come next.

    Attributes:
      url: where it listens.
      faults: of the next requests, one each.
      always: of every request, after those.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self._lock = threading.Lock()

    def next_fault(self) -> Fault | None:
        with self._lock:
            return self.faults.pop(0) if self.faults else self.always


@contextlib.contextmanager
def faulty_proxy(server: str) -> Iterator[FaultyProxy]:
    """Yield a proxy before the server of that URL."""
    host = urllib.parse.urlsplit(server).netloc

    class Handler(BaseHTTPRequestHandler):
        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            match proxy.next_fault():
                case "503":
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                case "cut":
                    self.close_connection = True  # without a word
                case None:
                    self._answer(body)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _forward

        def _answer(self, body: bytes) -> None:
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
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        proxy = FaultyProxy(f"http://127.0.0.1:{listener.server_port}")
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown()
            thread.join()
