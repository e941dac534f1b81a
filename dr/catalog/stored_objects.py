"""What the last proofs saw at targets, object by object: rows, of which only those that changed are written.

Known from looking, not from evidence: where it is lost, the next proof reads all again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from sqlite3 import Connection

from dr.evidence.stored_object import StoredObject

_COLUMNS = ", ".join(StoredObject._fields)
_MARKS = ", ".join("?" * (len(StoredObject._fields) + 3))


def read(db: Connection, system: str, target: str) -> dict[str, StoredObject]:
    """Return what is known of the objects of a system's repository on a target, by name."""
    cursor = db.execute(
        f"select name, {_COLUMNS} from stored_objects where system = ? and target = ?",  # noqa: S608 - own names
        (system, target),
    )
    cursor.row_factory = None
    return {row[0]: StoredObject._make(row[1:]) for row in cursor}


def write(
    db: Connection,
    system: str,
    target: str,
    before: Mapping[str, StoredObject],
    after: Mapping[str, StoredObject],
) -> int:
    """Write what is known `after` a run where it is not as it was `before`; return how many rows that were."""
    gone = before.keys() - after.keys()
    changed = [(system, target, name, *item) for name, item in after.items() if before.get(name) != item]
    drop(db, system, target, gone)
    db.executemany(f"insert or replace into stored_objects values ({_MARKS})", changed)  # noqa: S608 - marks alone
    return len(gone) + len(changed)


def drop(db: Connection, system: str, target: str, names: Collection[str] | None = None) -> None:
    """Forget some objects of a repository, or all."""
    if names is None:
        db.execute("delete from stored_objects where system = ? and target = ?", (system, target))
        return
    db.executemany(
        "delete from stored_objects where system = ? and target = ? and name = ?",
        [(system, target, name) for name in names],
    )
