"""Planted secrets: the forms one may show in, and the places where it must not."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from urllib.parse import quote


def forms(*wanted: str) -> list[bytes]:
    """Return how each secret may be written: as it is, in base64, and in a URL."""
    return [
        form
        for secret in wanted
        for form in (secret.encode(), base64.b64encode(secret.encode()).rstrip(b"="), quote(secret, safe="").encode())
    ]


class CommandLines:
    """Keeps the command line of every process it sees in a block: some secrets are known only afterwards."""

    def __init__(self) -> None:
        self._ended, self.lines = threading.Event(), set[bytes]()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            for name in filter(str.isdecimal, os.listdir("/proc")):
                try:
                    self.lines.add(Path("/proc", name, "cmdline").read_bytes())
                except OSError:
                    continue

    def showing(self, words: Iterable[bytes]) -> list[bytes]:
        """Return the command lines that hold any of the words."""
        return [line for line in set(self.lines) if any(word in line for word in words)]


def files_showing(words: Collection[bytes], root: Path, *, private: Collection[Path]) -> list[Path]:
    """Return the files below a directory that hold any of the words, but for those made to hold them."""
    files = [path for path in root.rglob("*") if path.is_file() and path not in private]
    return [path for path in files if any(word in path.read_bytes() for word in words)]
