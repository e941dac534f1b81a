"""What tables are called: by people, and in what was recorded at capture."""

from __future__ import annotations

from dr.sources.database_inventory import DatabaseInventory
from dr.sources.tables import Table

#: Objects that a person may name as a table, by what they are called at capture.
_KINDS = ("table", "view", "sequence")


def table_of(
    database: str, name: str, kind: str, captured: DatabaseInventory | None, *, changes: bool = False
) -> Table:
    """Return a table by its names.

    `changes`: it keeps old versions of its rows, which were counted too. What no snapshot held still may have had
    other rows when they were counted than when they were dumped.
    """
    key = f"{database}.{name}"
    known = captured is not None and not changes and f"not held still {key}" not in captured.objects
    return Table(
        names=(database, name), also=(name,), kind=kind,
        at_capture=captured.rows.get(key) if captured and known else None,
    )  # fmt: skip


def foreseen(captured: DatabaseInventory) -> list[Table]:
    """Return the tables, and what may be taken for one, that were recorded at capture."""
    keys = [(kind, key.removeprefix(f"{kind} ")) for key in captured.objects for kind in _KINDS
            if key.startswith(f"{kind} ")]  # fmt: skip
    return [
        table_of(database, key.removeprefix(f"{database}."), kind, captured)
        for kind, key in keys
        for database in captured.databases
        if key.startswith(f"{database}.")
    ]
