"""Declarations kept by who stays: handed out again while no file beside them was touched.

A thousand plans take half a second to read and to judge, and a daemon looks every minute. What a plan's faults say of
the world beside the files, such as a secret that cannot be read, is looked at again after a while all the same.
"""

from __future__ import annotations

import os
from dataclasses import field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dr.late_dataclass import dataclass
from dr.plan.unread import FOLDERS

if TYPE_CHECKING:
    from dr.plan.declarations import Declarations

#: After so long all is read again, touched or not.
AGAIN = timedelta(minutes=15)

Stamp = tuple[tuple[str, int, int, int, int], ...]


@dataclass
class Unchanged:
    """What was read last, when, and how the files stood before that."""

    _found: Declarations | None = None
    _stamp: Stamp = field(default=(), repr=False)
    _at: datetime | None = None

    def same(self, stamp: Stamp, *, now: datetime) -> Declarations | None:
        """Return what was read while the files stood as they do now; None when it is to be read again."""
        fresh = self._at is not None and abs(now - self._at) < AGAIN
        return self._found if fresh and stamp and stamp == self._stamp else None

    def keep(self, found: Declarations, stamp: Stamp, *, now: datetime) -> None:
        """Keep what was read after the files were seen to stand so."""
        self._found, self._stamp, self._at = found, stamp, now


def stamp_of(config: Path) -> Stamp:
    """Return how each file of a configuration stands; empty when one cannot be looked at, which is like no other."""
    try:
        return tuple(sorted(each for folder in ("", *FOLDERS) for each in _entries(config / folder)))
    except OSError:
        return ()


def _entries(folder: Path) -> list[tuple[str, int, int, int, int]]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            leads_on = not entry.is_symlink() or Path(entry.path).exists()
            status = entry.stat(follow_symlinks=leads_on)
            stands = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            found.append((entry.path, *stands))
    return found
