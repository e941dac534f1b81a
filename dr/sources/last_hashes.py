"""The hashes of the last capture that still count: what was not touched since is not read again.

They are asked for in the order of a manifest's lines, so that the last one is read beside, and never held.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from dr.errors import DamageError
from dr.evidence import manifest
from dr.evidence.manifest import Entry, key_of, spelt
from dr.evidence.manifest_changes import ordered
from dr.sources.attributes import COVERED

#: A file touched so shortly before its hash was taken may have changed within one tick of its clock.
_RACY_NS = 2_000_000_000


class LastHashes:
    """What the last manifest says of each path that is asked for, in order. One that is damaged says nothing."""

    def __init__(self, reuse: Path | None) -> None:
        self._lines, self._settled, self.covered = iter(list[bytes]()), 0, False
        if reuse is not None and manifest.is_whole(reuse):
            self._open(reuse)
        self._line = next(self._lines, b"")
        self._key = key_of(self._line)

    def _open(self, reuse: Path) -> None:
        try:
            header = manifest.header(reuse)
            self._settled = int(datetime.fromisoformat(header["started"]).timestamp() * 1e9) - _RACY_NS
        except (DamageError, KeyError, TypeError, ValueError):
            return  # costs a full read, nothing else
        #: Whether it tells of attributes: not that of an older release.
        self.covered = bool(header.get(COVERED))
        self._lines = _readable(ordered(reuse))

    def of(self, path: bytes) -> Entry | None:
        """Return what was captured at a path, where its hash still counts while the file is the same.

        Each path that is asked for comes after the one before, by the order of lines.
        """
        if not self._line:
            return None
        wanted = f"[{spelt(path)}".encode("ascii")
        while self._line and self._key < wanted:
            self._line = next(self._lines, b"")
            self._key = key_of(self._line)
        if self._key != wanted:
            return None
        try:
            entry = manifest.entry_of(self._line)
            counts = entry.sha256 and entry.state == "ok" and max(entry.mtime_ns, entry.ctime_ns) < self._settled
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        return entry if counts else None


def _readable(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines as long as they can be read."""
    try:
        yield from lines
    except DamageError:
        return
