"""A network that can be cut, joined again and slowed: it listens on one port for as long as it lives."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self


class Wire:
    """Passes TCP on to a port; a context. `delay` are seconds that each block waits."""

    def __init__(self, to: int) -> None:
        self._to, self.delay = to, 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._guard, self._whole = threading.Lock(), True

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break what is open, and take nothing that comes."""
        with self._guard:
            self._whole = False
            for each in self._open:
                _end(each)
            self._open.clear()

    def join(self) -> None:
        """Take connections again."""
        with self._guard:
            self._whole = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._guard:
                    if not self._whole:
                        _end(client)
                        continue
                    try:
                        server = socket.create_connection(("127.0.0.1", self._to))
                    except OSError:
                        _end(client)
                        continue
                    self._open |= {client, server}
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                to.sendall(block)
            to.shutdown(socket.SHUT_WR)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
