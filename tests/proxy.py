"""A wire between a program and a server that counts who comes, and that can be cut."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Proxy:
    """Passes TCP on from a port of its own to `port`; a context. After `cut_after` bytes to the server it is dead.

    While it is `down` it hangs up on whoever comes. After `drop_after` more bytes to the client it drops all that is
    open, once. Each block waits `delay` seconds.
    """

    def __init__(self, port: int, *, cut_after: int | None = None) -> None:
        self._to, self._left = port, cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._guard = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.visits = 0
        self.down = False
        self.drop_after: int | None = None
        self.delay = 0.0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    def cut(self) -> None:
        """Take no more, and drop what is open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Drop what is open."""
        with self._guard:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            self._open.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.visits += 1
                with self._guard:  # who comes amid a `drop` is dropped, too
                    try:
                        server = None if self.down else socket.create_connection(("127.0.0.1", self._to))
                    except OSError:
                        server = None
                    if server is None:
                        client.close()
                        continue
                    self._open += [client, server]
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, to: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                if counted and self._left is not None:
                    self._left -= len(block)
                    if self._left < 0:
                        self.cut()
                        return
                if not counted and self.drop_after is not None:
                    self.drop_after -= len(block)
                    if self.drop_after < 0:
                        self.drop_after = None
                        self.drop()
                        return
                to.sendall(block)
            to.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as a service saw them; sizes are those of the bodies, in bytes."""

    asked: str
    agent: str
    status: int
    sent: int
    received: int


class Busy:
    """A service's front that is too busy for its first `refusals` requests, and passes on the others.

    `asked` has the method and the path of each request, `seen` what came of it, `refusals` how many are still to be
    refused, `headers` what a refusal says beside its status, and `message` why, or the whole `body`. With `only` it
    refuses just those whose method and path match that, all of them.
    """

    def __init__(self, endpoint: str, port: int, *, status: int = 503, code: str = "SlowDown") -> None:
        self.endpoint, self.port, self.status, self.code = endpoint, port, status, code
        self.refusals, self.headers = 0, dict[str, str]()
        self.message, self.only, self.body = "no", "", b""
        self.asked: list[str] = []
        self.seen: list[Exchange] = []
        self._guard = threading.Lock()

    def refuses(self, asked: str) -> bool:
        """Note a request; whether it is one to be refused."""
        with self._guard:
            self.asked.append(asked)
            if self.only:
                return bool(re.match(self.only, asked))
            self.refusals -= 1
            return self.refusals >= 0


@contextlib.contextmanager
def busy(port: int, *, status: int = 503, code: str = "SlowDown") -> Iterator[Busy]:
    """Stand in front of a server of this machine, at a port of its own. Signatures stay whole: `Host` is passed on."""

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._sent = len(body)
            if front.refuses(f"{self.command} {self.path}"):
                self._tell(
                    front.status,
                    front.headers,
                    front.body
                    or f"<Error><Code>{front.code}</Code><Message>{front.message}</Message></Error>".encode(),
                )
                return
            line = http.client.HTTPConnection("127.0.0.1", front.port)
            with contextlib.closing(line):
                line.request(self.command, self.path, body, dict(self.headers))
                answer = line.getresponse()
                self._tell(answer.status, dict(answer.getheaders()), answer.read())

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the names that the library wants
        do_PROPFIND = do_MKCOL = do_MOVE = do_GET  # noqa: N815 - what WebDAV has beside them

        def _tell(self, status: int, headers: dict[str, str], body: bytes) -> None:
            asked, agent = f"{self.command} {self.path}", self.headers.get("User-Agent", "")
            front.seen.append(Exchange(asked, agent, status, self._sent, len(body)))
            self.send_response_only(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                if name.lower() != "transfer-encoding":
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *told: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        front = Busy(f"http://127.0.0.1:{server.server_address[1]}", port, status=status, code=code)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield front
        server.shutdown()
