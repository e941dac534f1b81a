"""restic and a full disk below what it writes: its cache, a repository in a directory, its temporary files.

restic 0.18.0 may wait for ever when one of them has become full: it goes on saying how far it is, and gets no further.
Nothing of that run can be kept then, so it is ended.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dr.errors import DrError

#: Less than this is a full disk, in bytes; and so many seconds without a step forward, while it is full.
_FULL, PATIENCE_SECONDS = 1 << 20, 20.0


class Room:
    """Watches one restic process by what it says of its progress."""

    def __init__(self, cache: Path, location: str, where: str) -> None:
        self._places = {"its cache": cache, "its temporary files": Path(tempfile.gettempdir())}
        if location.startswith("/"):
            self._places["the target"] = Path(location)
        self._where = where
        self._last, self._since = "", 0.0

    def heed(self, line: str) -> None:
        """Take a line that says how far it is. Raises `DrError` when it gets no further, and a disk has no room."""
        self.judge(line.partition('"percent_done"')[2])  # what stands before it is time, which always goes on

    def judge(self, at: str) -> None:
        """Take how far it is, in any words. Raises as `heed`."""
        now = time.monotonic()
        full = next((what for what, place in self._places.items() if _is_full(place)), "") if at == self._last else ""
        if not full:
            self._last, self._since = at, now
        elif now - self._since > PATIENCE_SECONDS:
            raise DrError(
                f"restic waits: the disk of {full} is full", str(self._places[full]), self._where,
                hint="free some space there, then start the command again",
            )  # fmt: skip


class Standstill:
    """Looks every second, beside the work, how far a restic is whose progress nobody hears, and ends it likewise.

    `error` is then why. `at` returns how far it is; `end` ends it.
    """

    def __init__(self, room: Room, at: Callable[[], str], end: Callable[[], None]) -> None:
        self.error: DrError | None = None
        self._room, self._at, self._end, self._over = room, at, end, threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(1.0):
            try:
                self._room.judge(self._at())
            except DrError as error:
                self.error = error
                self._end()
                return


def _is_full(place: Path) -> bool:
    try:
        found = os.statvfs(place)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _FULL
