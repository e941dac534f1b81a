"""A throw-away server that is one program listening on a port of its own on 127.0.0.1."""

from __future__ import annotations

import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from .owned import dying_with_us
from .ports import own_ports


class Listening(ABC):
    """The server; a context that starts and ends it. Its objects are plain files below `files`."""

    #: The program's name, for messages.
    name: str

    def __init__(self, home: Path) -> None:
        self.home, self.files = home, home / "files"
        (self.port,) = own_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> tuple[Sequence[str], Mapping[str, str] | None]:
        """Return what to start, and its environment: None for this one."""

    @abstractmethod
    def prepare(self) -> None:
        """Write what the server reads; its directories are there."""

    def __enter__(self) -> Self:
        self.files.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.prepare()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        argv, env = self.command()
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying_with_us(), *argv], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 10):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not start: {(self.home / 'log').read_text()[-500:]}")

    def kill(self) -> None:
        """End it, at once. May be called twice."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
