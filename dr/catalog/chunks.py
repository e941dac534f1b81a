"""Chunks: the bodies of folded records, many compressed together, and how they are read back in bounded memory.

They were written with zlib before, 128 bodies in each; those are read as ever.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from sqlite3 import Connection, Row

#: So many lines are kept unpacked: all that the records of one fold, read in their order, lie in.
MOST_KEPT = 6144
#: What unpacks to more bytes, or asks for more memory to be unpacked, was not made by us: it cannot be read.
_LARGEST, _MEMORY = 2**28, 2**26
_XZ = b"\xfd7zXZ\0"
#: A chunk of common records is as long. With the preset's own, 8 MB, compressing would take 94 MB of memory.
_DICTIONARY = 2**20


def pack(lines: Iterable[str]) -> bytes:
    """Return lines, none of which holds a line feed, as one compressed chunk."""
    import lzma

    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": _DICTIONARY, "pb": 0}]
    return lzma.compress("\n".join(lines).encode(), format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=filters)


def unpack(bodies: object) -> list[str]:
    """Return the lines of a chunk; none when it is damaged, cut short or too large."""
    text = _unpacked(bodies) if isinstance(bodies, bytes) else None
    try:
        return [] if text is None else text.decode().split("\n")
    except UnicodeDecodeError:
        return []


def _unpacked(bodies: bytes) -> bytes | None:
    if not bodies.startswith(_XZ):
        old = zlib.decompressobj()
        try:
            text = old.decompress(bodies, _LARGEST)
        except zlib.error:
            return None
        return text if old.eof else None
    import lzma

    new = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)
    try:
        text = new.decompress(bodies, _LARGEST)
    except (lzma.LZMAError, EOFError):
        return None
    return text if new.eof else None


def read(db: Connection, number: int) -> list[str]:
    """Return what was folded into a chunk; nothing when it cannot be read, so that its records are seen as damaged."""
    row = db.execute("select bodies from chunks where id = ?", (number,)).fetchone()
    return unpack(row["bodies"]) if row else []


def with_lines(db: Connection, rows: Iterable[Row]) -> Iterator[tuple[Row, list[str]]]:
    """Yield rows of folded records, each with what its chunk holds."""
    kept: dict[int, list[str]] = {}
    for row in rows:
        lines = kept.pop(row["chunk"], None)
        if lines is None:
            lines = read(db, row["chunk"])
            while kept and sum(map(len, kept.values())) + len(lines) > MOST_KEPT:
                del kept[next(iter(kept))]
        kept[row["chunk"]] = lines  # the last one used is the last to go
        yield row, lines
