"""The beginning of a SQLite file, which mostly has all definitions in it: its tables are known before a restore."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from dr.errors import SourceError
from dr.sources.sqlite_definitions import quoted
from dr.sources.sqlite_tables import SqliteTables, condition_of, opened
from dr.sources.tables import Table, of_condition

_MAGIC = b"SQLite format 3\0"


def tables_in(name: str, path: Path) -> list[Table] | None:
    """Return the tables of a file of which only the beginning is there; None where that does not tell.

    What is missing is made of zeros, which SQLite takes for damage: a list is the whole list, or there is none.
    """
    if not (path.is_file() and _made_whole(path)):
        return None
    try:
        return SqliteTables(name, path, path.parent).listed()
    except SourceError:
        return None


def refuse_condition(name: str, path: Path, table: Table, where: str) -> None:
    """Raise `SourceError` where SQLite, having read the definitions, does not take a condition. No row is read."""
    query = f"explain select count(*) from {quoted(table.names[1])}{condition_of(where)}"  # noqa: S608 - quoted, read only
    try:
        with closing(opened(path, "ro")) as database:
            database.execute(query)
    except sqlite3.OperationalError as error:
        said = SourceError("it cannot be asked", name, f"SQLite says {str(error)!r}", hint="correct the condition")
        raise of_condition(said) from error
    except sqlite3.DatabaseError:
        return  # a part of the definitions is not in the beginning


def _made_whole(path: Path) -> bool:
    """Give a file the size that its header says; False where it has no such header."""
    with path.open("r+b") as file:
        head = file.read(100)
        if len(head) < 100 or not head.startswith(_MAGIC):
            return False
        page = int.from_bytes(head[16:18], "big")
        size = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
        try:
            os.truncate(file.fileno(), max(size, path.stat().st_size))
        except OSError:
            return False
    return True
