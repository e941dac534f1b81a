"""restic and a full disk below its cache.

restic 0.18.0 may wait for ever when the disk of their cache has become full: they go on saying how far they
are, and get no further. Nothing of that run can be kept then, as the state is on the same disk, so it is ended.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from dr.errors import DrError

#: Less than this is a full disk, in bytes; and so many seconds without a step forward, while it is full.
_FULL, PATIENCE_SECONDS = 1 << 20, 20.0


class Room:
    """Watches one restic process by what it says of its progress."""

    def __init__(self, cache: Path, where: str) -> None:
        self._cache, self._where = cache, where
        self._last, self._since = "", 0.0

    def heed(self, line: str) -> None:
        """Take a line that says how far it is. Raises `DrError` when it gets no further, and its cache has no room."""
        at = line.partition('"total_files"')[2]  # what stands before it is time, which always goes on
        now = time.monotonic()
        if at != self._last or not self._is_full():
            self._last, self._since = at, now
        elif now - self._since > PATIENCE_SECONDS:
            raise DrError(
                "restic waits: the disk of its cache is full", str(self._cache), self._where,
                hint="free some space there, then start the command again",
            )  # fmt: skip

    def _is_full(self) -> bool:
        try:
            found = os.statvfs(self._cache)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize < _FULL
