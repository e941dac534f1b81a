"""The hashes of the last capture that still count: what was not touched since is not read again.

They are asked for in the order of a manifest's lines, so that the last one is read beside, and never held.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from dr.errors import DamageError
from dr.evidence import manifest
from dr.evidence.manifest import Entry, key_of, spelt
from dr.evidence.manifest_changes import ordered
from dr.sources.attributes import COVERED

#: A file touched so shortly before its hash was taken may have changed within one tick of its clock.
_RACY_NS = 2_000_000_000


class Unchanged(NamedTuple):
    """A file that is just as the last manifest has it: its line there is its line now."""

    path: bytes
    size: int
    line: bytes

    @property
    def kind(self) -> Literal["file"]:
        """See `Entry`."""
        return "file"


class LastHashes:
    """What the last manifest says of each path that is asked for, in order. One that is damaged says nothing."""

    def __init__(self, reuse: Path | None) -> None:
        self._lines, self._settled, self.covered = iter(list[bytes]()), 0, False
        if reuse is not None and manifest.is_whole(reuse):
            self._open(reuse)
        self._line, self._at = next(self._lines, b""), b""  # the path of that line, once it was asked for

    def _open(self, reuse: Path) -> None:
        try:
            header = manifest.header(reuse)
            self._settled = int(datetime.fromisoformat(header["started"]).timestamp() * 1e9) - _RACY_NS
        except (DamageError, KeyError, TypeError, ValueError):
            return  # costs a full read, nothing else
        #: Whether it tells of attributes: not that of an older release.
        self.covered = bool(header.get(COVERED))
        self._lines = _readable(ordered(reuse))

    def unchanged(self, path: bytes, status: os.stat_result) -> Unchanged | None:
        """Return what was captured of a file, where its hash still counts and all else is as its line says.

        Nothing is decoded: so it is with most. Each path comes after the one before, as with `of`.
        """
        if not self.covered or status.st_ctime_ns >= self._settled or status.st_mtime_ns >= self._settled:
            return None
        same = self._goes_to(path) and manifest.tells_of(self._line, status)
        return Unchanged(path, status.st_size, self._line) if same else None

    def of(self, path: bytes) -> Entry | None:
        """Return what was captured at a path, where its hash still counts while the file is the same.

        Each path that is asked for comes after the one before, by the order of lines.
        """
        if not self._goes_to(path):
            return None
        try:
            entry = manifest.entry_of(self._line)
            counts = entry.sha256 and entry.state == "ok" and max(entry.mtime_ns, entry.ctime_ns) < self._settled
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        return entry if counts else None

    def _goes_to(self, path: bytes) -> bool:
        """Go on to the line of a path; whether there is one."""
        if path == self._at:
            return True
        if self._at:
            self._line = next(self._lines, b"")
        if manifest.file_of(self._line) != path:  # as it is mostly, where nothing is new: no path is spelt
            wanted = f"[{spelt(path)}".encode("ascii")
            while self._line and key_of(self._line) < wanted:
                self._line = next(self._lines, b"")
            if key_of(self._line) != wanted:
                path = b""
        self._at = path
        return bool(path)


def _readable(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines as long as they can be read."""
    try:
        yield from lines
    except DamageError:
        return
