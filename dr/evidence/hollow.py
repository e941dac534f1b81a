"""Whether something captured or restored holds nothing, by its own bytes: then it proves no recovery. Pure.

A failed export often leaves a file behind that is not empty: a compressed nothing, an archive without an entry, a dump
of a database without a table. What cannot be told for certain is taken to hold something.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable

#: What holds nothing is small. More than this is never looked at, and holds something.
LARGEST = 64 << 10
#: So much of what is unpacked is looked at.
_UNPACKED = 1 << 20
_SQLITE = b"SQLite format 3\0"
_ARCHIVE = b"PGDMP"
_KINDS = (b"TABLE", b"VIEW", b"FUNCTION", b"PROCEDURE", b"SEQUENCE", b"TYPE", b"DOMAIN", b"BLOB", b"EXTENSION", b"ROLE")
_DUMP = re.compile(rb"\A\s*(--|/\*|PRAGMA foreign_keys|SET |BEGIN)", re.IGNORECASE)
_COMMENTS = re.compile(rb"--[^\n]*|/\*.*?\*/;?", re.DOTALL)
_MADE = re.compile(rb"/\*![0-9]+\s+CREATE\b", re.IGNORECASE)  # MySQL's comments that are statements to it
#: What a dump says that has no table: settings, transactions, the database itself.
_FRAME = re.compile(
    rb"(set|pragma|begin|commit|start transaction|use|select pg_catalog\.set_config|create database|alter database"
    rb"|create schema|drop database|\\connect|\\c|\\restrict|\\unrestrict|lock tables|unlock tables)\b",
    re.IGNORECASE,
)


def hollow(content: bytes, size: int) -> str:
    """Return in words what holds nothing; empty when it holds something.

    `content` is the whole of it up to `LARGEST` bytes, or the beginning of what is larger.
    """
    if size == 0:
        return "0 bytes"
    if content.startswith(_SQLITE):
        return "an SQLite database without a table" if _without_tables(content) else ""
    if size > LARGEST or len(content) < size:
        return ""
    unpacked, how = _unpacked(content)
    if unpacked is None:
        return ""
    inner = _plainly_hollow(unpacked)
    if how:
        return f"{how} of nothing" if not unpacked else f"{inner}, compressed" if inner else ""
    return inner


def _plainly_hollow(content: bytes) -> str:
    if content.startswith(b"PK\x05\x06") and len(content) >= 22 and content[8:12] == bytes(4):
        return "a zip archive of nothing"
    if not content.strip(b"\0"):
        return "a tar archive of nothing" if len(content) % 512 == 0 and len(content) >= 1024 else "nothing but zeros"
    if not content.strip():
        return "nothing but blanks"
    if content.startswith((b"070701", b"070702", b"070707")) and b"TRAILER!!!" in content[:256]:
        return "a cpio archive of nothing"
    bare = _is_bare_archive(content) if content.startswith(_ARCHIVE) else _is_bare_dump(content)
    return "a dump without a table" if bare else ""


def _is_bare_archive(content: bytes) -> bool:
    """Whether the table of contents of a `pg_dump` archive names nothing that a database holds."""
    return not any(kind in content for kind in _KINDS)


def _is_bare_dump(content: bytes) -> bool:
    """Whether it is the SQL of a dump, and says nothing but settings."""
    if not _DUMP.match(content) or _MADE.search(content):
        return False
    lines = _COMMENTS.sub(b"", content).replace(b"\\restrict", b";\\restrict").split(b";")
    statements = [line.strip() for part in lines for line in _apart(part) if line.strip()]
    return all(_FRAME.match(statement) for statement in statements)


def _apart(part: bytes) -> list[bytes]:
    """Take psql's own commands, which end with their line, apart from the statement after them."""
    lines = part.strip().split(b"\n")
    own = [line for line in lines if line.startswith(b"\\")]
    return [*own, b"\n".join(line for line in lines if not line.startswith(b"\\"))]


def _without_tables(content: bytes) -> bool:
    """Whether the schema table, the root of the first page, is a leaf without a cell (SQLite's file format, 1.6)."""
    return len(content) >= 105 and content[100] == 0x0D and content[103:105] == b"\0\0"


def _unpacked(content: bytes) -> tuple[bytes | None, str]:
    """Return what is in a compressed file, and how it is compressed; None when that cannot be told."""
    for mark, how, unpack in _PACKED:
        if content.startswith(mark):
            return unpack(content), how
    return content, ""


def _gunzip(content: bytes) -> bytes | None:
    found = bytearray()
    try:
        while content:
            reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
            found += reader.decompress(content, _UNPACKED)
            if not reader.eof or len(found) >= _UNPACKED:
                return None if not found else bytes(found)
            content = reader.unused_data.lstrip(b"\0")  # blocks of a tape are filled up with zeros
    except zlib.error:
        return None
    return bytes(found)


def _with(reader: bz2.BZ2Decompressor | lzma.LZMADecompressor, content: bytes) -> bytes | None:
    try:
        found = reader.decompress(content, _UNPACKED)
    except (OSError, EOFError, lzma.LZMAError):
        return None
    return found if reader.eof or found else None


def _zstd(content: bytes) -> bytes | None:
    """Return nothing for a frame whose only block is empty (RFC 8878, 3.1.1); None for any other."""
    descriptor = content[4] if len(content) > 4 else 0
    single, checksum, dictionary = descriptor >> 5 & 1, descriptor >> 2 & 1, (0, 1, 2, 4)[descriptor & 3]
    sizes = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    at = 5 + (not single) + dictionary + sizes
    block = content[at : at + 3]
    last_and_empty = len(block) == 3 and block[0] & 1 == 1 and int.from_bytes(block, "little") >> 3 == 0
    return b"" if last_and_empty and len(content) <= at + 3 + 4 * checksum else None


def _lz4(content: bytes) -> bytes | None:
    """Return nothing for a frame that ends where its first block would be; None for any other."""
    flags = content[4] if len(content) > 4 else 0
    at = 7 + (8 if flags >> 3 & 1 else 0) + (4 if flags & 1 else 0)
    return b"" if content[at : at + 4] == bytes(4) and len(content) <= at + 8 else None


_PACKED: tuple[tuple[bytes, str, Callable[[bytes], bytes | None]], ...] = (
    (b"\x1f\x8b", "gzip", _gunzip),
    (b"BZh", "bzip2", lambda content: _with(bz2.BZ2Decompressor(), content)),
    (b"\xfd7zXZ\0", "xz", lambda content: _with(lzma.LZMADecompressor(), content)),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    (b"\x04\x22\x4d\x18", "lz4", _lz4),
)
