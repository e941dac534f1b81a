"""What tables are called: by people, in what was recorded at capture, and by the server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from dr.sources.database_inventory import DatabaseInventory
from dr.sources.tables import Table

_LONGEST = 63  # bytes of an identifier
#: Objects that a person may name as a table, by what they are called at capture.
_KINDS = ("table", "foreign table", "view", "materialized view")
_QUOTED = re.compile(r'("(?:[^"]|"")*"|[^".]+)\.("(?:[^"]|"")*"|[^".]+)')


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
