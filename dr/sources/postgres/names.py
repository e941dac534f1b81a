"""What databases and tables are called: by people, in a point, and on a live server beside the ones in use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from dr.sources.database_inventory import DatabaseInventory
from dr.sources.several import unpack
from dr.sources.tables import Table

#: Several databases in one stream.
SEVERAL = "databases.tar"
#: The accounts: roles, their passwords as digests where that may be read, their memberships.
GLOBALS = "globals.sql"
_ENDING = ".dump"
_LONGEST = 63  # bytes of an identifier
#: Objects that a person may name as a table, by what they are called at capture.
_KINDS = ("table", "foreign table", "view", "materialized view")
_QUOTED = re.compile(r'("(?:[^"]|"")*"|[^".]+)\.("(?:[^"]|"")*"|[^".]+)')
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


def table_of(database: str, schema: str, name: str, *, kind: str, rows: Mapping[str, int], key: str) -> Table:
    """Return a table by its names; `key` is its name among the rows that were counted at capture."""
    short = (f"{database}.{name}",) if schema == "public" else ()
    also = (f"{schema}.{name}", *short, name)
    return Table(names=(database, schema, name), also=also, kind=kind, at_capture=rows.get(key))


def foreseen(captured: DatabaseInventory) -> list[Table]:
    """Return the tables, and what may be taken for one, that were recorded at capture."""
    return list(_foreseen(captured))


def _foreseen(captured: DatabaseInventory) -> Iterator[Table]:
    for database in captured.databases:
        for kind in _KINDS:
            begin = f"{kind} {database}."
            for key in captured.objects:
                if key.startswith(begin) and (found := _QUOTED.fullmatch(key, len(begin))):
                    named = (_plain(found[1]), _plain(found[2]))
                    whole = key.removeprefix(f"{kind} ")
                    yield table_of(database, *named, kind=kind, rows=captured.rows, key=whole)


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def is_suited(name: str) -> bool:
    """Whether the server takes a name as it is: one that is too long it cuts off without a word."""
    return 0 < len(os.fsencode(name)) <= _LONGEST and "\0" not in name
