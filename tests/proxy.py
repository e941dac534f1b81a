"""A wire between a program and a server that counts who comes, and that can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class Proxy:
    """Passes TCP on from a port of its own to `port`; a context. After `cut_after` bytes to the server it is dead."""

    def __init__(self, port: int, *, cut_after: int | None = None) -> None:
        self._to, self._left = port, cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._guard = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.visits = 0

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
                server = socket.create_connection(("127.0.0.1", self._to))
                with self._guard:
                    self._open += [client, server]
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, to: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                if counted and self._left is not None:
                    self._left -= len(block)
                    if self._left < 0:
                        self.cut()
                        return
                to.sendall(block)
            to.shutdown(socket.SHUT_WR)
