"""What a host or a large folder lists, in the order of a manifest's lines without being held: pieces, merged."""

from __future__ import annotations

import errno
import heapq
import mmap
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from dr.evidence import manifest
from dr.evidence.manifest import Entry, Kind, key_of, spelt

#: So many lines are held at a time; so many pieces are open at once, each of which takes a descriptor.
_PIECE, _MOST = 20_000, 64
#: So many lines further on one is looked for before it is looked for among all.
_NEXT = 4


class SortedTexts:
    """Lines in any order, each with its end; what is more than is held lies in files beside `path`."""

    def __init__(self, path: Path) -> None:
        self._path, self._pieces, self._held = path, list[Path](), list[bytes]()
        self._made = 0

    def fill(self, lines: Iterable[bytes]) -> None:
        """Take lines."""
        rest = iter(lines)
        while True:
            self._held.extend(islice(rest, _PIECE - len(self._held)))
            if len(self._held) < _PIECE:
                return
            self._put_down()

    def _put_down(self) -> None:
        self._held.sort()
        self._pieces.append(self._written(self._held))
        self._held.clear()
        if len(self._pieces) == _MOST:
            whole = self._written(self)
            self.remove()
            self._pieces.append(whole)

    def _written(self, lines: Iterable[bytes]) -> Path:
        piece, self._made = self._path.with_name(f"{self._path.name}.{self._made}"), self._made + 1
        with piece.open("wb") as file:
            file.writelines(lines)
        return piece

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines in order. May be asked again."""
        with ExitStack() as until:
            pieces = [until.enter_context(piece.open("rb")) for piece in self._pieces]
            yield from heapq.merge(*pieces, sorted(self._held))

    def drained(self) -> Iterator[bytes]:
        """Yield the lines in order, once; then no piece is left."""
        if not self._pieces:
            return iter(sorted(self._held))
        return self._drained()

    def _drained(self) -> Iterator[bytes]:
        try:
            yield from self
        finally:
            self.remove()

    def remove(self) -> None:
        """Take the pieces away."""
        for piece in self._pieces:
            piece.unlink()
        self._pieces.clear()
        self._held.clear()


class SortedLines(SortedTexts):
    """Entries in any order, as lines of a manifest."""

    def add(self, path: bytes, status: os.stat_result, kind: Kind, target: bytes | None) -> None:
        """Take what was found at a path; of one that is found again one of both counts."""
        numbers = status.st_size, None, status.st_mode, status.st_uid, status.st_gid
        times = status.st_mtime_ns, status.st_ctime_ns
        self.put(Entry(path, kind, *numbers, *times, status.st_ino, status.st_dev, target))

    def put(self, entry: Entry) -> None:
        """Take an entry."""
        self._held.append(manifest.line_of(entry))
        if len(self._held) >= _PIECE:
            self._put_down()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines in order, one of each path. May be asked again."""
        before = b""
        for line in super().__iter__():
            if (key := key_of(line)) != before:
                yield line
            before = key


class OrderedStatus:
    """What was found at paths that are asked for one after the other, in order; from the first again at any time."""

    def __init__(self, lines: SortedLines) -> None:
        self._lines = lines
        self._begin()

    def _begin(self) -> None:
        self._rest = iter(self._lines)
        self._line = next(self._rest, b"")
        self._asked = b""

    def lstat(self, path: bytes) -> os.stat_result:
        """Return what was found at a path. Raises `FileNotFoundError`."""
        wanted = f"[{spelt(path)}".encode("ascii")
        if wanted < self._asked:
            self._begin()
        self._asked = wanted
        while self._line and (key := key_of(self._line)) < wanted:
            self._line = next(self._rest, b"")
        if not self._line or key != wanted:
            raise FileNotFoundError(errno.ENOENT, "not listed")
        return status_of(manifest.entry_of(self._line))

    def holds(self, path: bytes) -> bool:
        """Whether anything was found at a path."""
        try:
            self.lstat(path)
        except FileNotFoundError:
            return False
        return True


class LinesAnywhere:
    """Lines in order, to be asked for in any order and by several threads; they lie in a file that has no name.

    `path` is where it is made. Who asks in order, as the lines stand, is answered soonest.
    """

    def __init__(self, lines: Iterable[bytes], path: Path) -> None:
        with path.open("w+b") as file:
            path.unlink()
            file.writelines(lines)
            file.flush()
            self._size = file.tell()
            self._text = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ) if self._size else None
        self._own = threading.local()

    def entry(self, path: bytes) -> Entry | None:
        """Return the entry of a path; None where there is none."""
        wanted = f"[{spelt(path)}".encode("ascii")
        start = self._soon(wanted, getattr(self._own, "next", 0))
        if start < 0:
            start = self._among(wanted)
        line = self._line(start)
        self._own.next = start + len(line)
        return manifest.entry_of(line) if key_of(line) == wanted else None

    def __iter__(self) -> Iterator[Entry]:
        """Yield all entries, in order."""
        at = 0
        while line := self._line(at):
            yield manifest.entry_of(line)
            at += len(line)

    def _soon(self, wanted: bytes, at: int) -> int:
        """Return where a line begins if it is one of the next; else -1."""
        for _ in range(_NEXT):
            line = self._line(at)
            key = key_of(line)
            if key == wanted:
                return at
            if not line or key > wanted:
                return -1
            at += len(line)
        return -1

    def _among(self, wanted: bytes) -> int:
        """Return where the line begins, or the first after it would: by halves."""
        low, high = 0, self._size
        while low < high:
            middle = self._begin((low + high) // 2)
            line = self._line(middle)
            if key_of(line) < wanted:
                low = middle + len(line)
            else:
                high = middle
        return low

    def _begin(self, at: int) -> int:
        """Return where the line begins in which a place lies."""
        return self._text.rfind(b"\n", 0, at) + 1 if self._text else 0

    def _line(self, at: int) -> bytes:
        return self._text[at : self._text.find(b"\n", at) + 1] if self._text and at < self._size else b""


def status_of(entry: Entry) -> os.stat_result:
    """Return what an entry was made of."""
    numbers = (entry.mode, entry.inode, entry.device, 1, entry.uid, entry.gid, entry.size, 0, 0, 0)
    return os.stat_result(numbers, {"st_mtime_ns": entry.mtime_ns, "st_ctime_ns": entry.ctime_ns})
