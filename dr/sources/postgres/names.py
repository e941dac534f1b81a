"""What databases are called: in a restored point as files, and on a live server beside the ones in use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

from dr.sources.several import unpack

#: Several databases in one stream.
SEVERAL = "databases.tar"
_ENDING = ".dump"
_LONGEST = 63  # bytes of an identifier
_UNSAFE = re.compile(r"[%/\\\x00-\x1f\x7f]|^\.")


def file_of(database: str) -> str:
    """Return the file name of a database's dump; `database_of` reads it back."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", database) + _ENDING


def database_of(filename: str) -> str:
    """Return the database whose dump a file is."""
    return unquote(filename.removesuffix(_ENDING), errors="surrogateescape")


def dumps_in(filename: str, chunks: Iterator[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each database that a stored stream holds, with its dump; each must be read before the next."""
    if filename != SEVERAL:
        yield database_of(filename), chunks
        return
    for name, blocks in unpack(chunks):
        yield database_of(name), blocks


def with_suffix(database: str, word: str, token: str) -> str:
    """Return `DATABASE_WORD_TOKEN`, with as much of the database's name as an identifier may hold."""
    suffix = f"_{word}_{token}"
    room = max(0, _LONGEST - len(os.fsencode(suffix)))
    return os.fsencode(database)[:room].decode("utf-8", "ignore") + suffix
