"""Blocks of a dump while it streams: few, evenly spread over it whatever its length, and what they show."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from dr.evidence.content import HEAD, entropy, head_of, packed

BLOCK, BLOCKS = 16 << 10, 96
_SQLITE = b"SQLite format 3\0"


class Blocks:
    """The blocks. Every second is dropped when they are too many."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._head, self._at, self._next, self._stride = b"", 0, 0, 4 * BLOCK
        self._open: bytearray | None = None

    def feed(self, chunk: bytes) -> None:
        """Take what comes next."""
        if len(self._head) < HEAD:
            self._head += chunk[: HEAD - len(self._head)]
        begin, end = self._at, self._at + len(chunk)
        self._at, position = end, begin
        while position < end:
            if self._open is None:
                if self._next >= end:
                    return
                position, self._open = max(self._next, begin), bytearray()
            part = chunk[position - begin : position - begin + BLOCK - len(self._open)]
            self._open += part
            position += len(part)
            if len(self._open) == BLOCK:
                self._keep(bytes(self._open))

    def read(self, file: Path) -> None:
        """Take blocks of a file instead, without reading all of it."""
        size = file.stat().st_size
        stride = max(4 * BLOCK, size // BLOCKS)
        with file.open("rb") as opened:
            self._head = opened.read(HEAD)
            for offset in range(0, size, stride):
                opened.seek(offset)
                self._kept.append(opened.read(BLOCK))
        self._at = size

    def measured(self) -> dict[str, Any]:
        """Return what the blocks show, as fields of a `Change`."""
        blocks = [*self._kept, *([bytes(self._open)] if self._open and not self._kept else [])]
        if not blocks:
            return {"size": self._at}
        return {
            "packed": round(fmean(packed(block) for block in blocks), 4),
            "entropy": round(fmean(entropy(block[:HEAD]) for block in blocks), 3),
            "head": head_of(self._head),
            "size": _in_use(self._head) or self._at,
        }

    def _keep(self, block: bytes) -> None:
        self._kept.append(block)
        self._open = None
        self._next += self._stride
        if len(self._kept) > BLOCKS:
            self._kept = self._kept[::2]
            self._stride *= 2
            self._next = self._stride * len(self._kept)


def _in_use(head: bytes) -> int:
    """Return the bytes of an SQLite database that hold something (its file format, 1.3): it does not shrink."""
    if not head.startswith(_SQLITE) or len(head) < 100:
        return 0
    page = int.from_bytes(head[16:18], "big")
    pages, free = int.from_bytes(head[28:32], "big"), int.from_bytes(head[36:40], "big")
    return max(1, pages - free) * (65536 if page == 1 else page)
