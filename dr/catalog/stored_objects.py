"""What the last proofs saw at targets, object by object: rows, read in their order, of which those that changed are
written.

Known from looking, not from evidence: where it is lost, the next proof reads all again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from sqlite3 import Connection

from dr.evidence.stored_object import KnownObjects, StoredObject, side_by_side
from dr.late_dataclass import dataclass

#: What is known of objects now, by name, in order; None where that is nothing.
Changes = Iterator[tuple[str, StoredObject | None]]
_COLUMNS = ", ".join(StoredObject._fields)
_MARKS = ", ".join("?" * (len(StoredObject._fields) + 3))
_READ = (
    f"select name, {_COLUMNS} from stored_objects "  # noqa: S608 - own names
    "where system = ? and target = ? and name > ? and name < ? order by name limit ?"
)
_LAST = chr(0x10FFFF)  # comes behind all that names hold
#: So many rows are read, and written, at a time.
_PAGE = 2_000


@dataclass(frozen=True)
class StoredRows:
    """The rows of a system's repository on a target; `reading` lends a connection.

    No more than a page of them is held, and nothing of the database between two pages: rows behind the last one may
    be written meanwhile.
    """

    reading: Callable[[], AbstractContextManager[Connection]]
    system: str
    target: str

    def in_order(self, part: str = "") -> Iterator[tuple[str, StoredObject]]:
        """See `KnownObjects`."""
        after, made = part, StoredObject._make
        while True:
            with self.reading() as db:
                cursor = db.execute(_READ, (self.system, self.target, after, part + _LAST, _PAGE))
                cursor.row_factory = None
                rows = cursor.fetchall()
            for row in rows:
                yield row[0], made(row[1:])
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def changes_to(self, after: KnownObjects) -> Changes:
        """Yield what is known `after`, by name, where it is not so here; None where that is nothing."""
        for name, was, now in side_by_side(self.in_order(), after.in_order()):
            if was != now:
                yield name, now[1] if now else None


def write(db: Connection, system: str, target: str, changes: Changes) -> int:
    """Write what changed; return how many rows that were.

    The changes may be made of these rows on the way: what is written lies behind what they were read up to.
    """
    count, left = 0, iter(changes)
    while batch := list(islice(left, _PAGE)):
        drop(db, system, target, [name for name, item in batch if item is None])
        db.executemany(
            f"insert or replace into stored_objects values ({_MARKS})",  # noqa: S608 - marks alone
            [(system, target, name, *item) for name, item in batch if item is not None],
        )
        count += len(batch)
    return count


def drop(db: Connection, system: str, target: str, names: Collection[str] | None = None) -> None:
    """Forget some objects of a repository, or all."""
    if names is None:
        db.execute("delete from stored_objects where system = ? and target = ?", (system, target))
        return
    db.executemany(
        "delete from stored_objects where system = ? and target = ? and name = ?",
        [(system, target, name) for name in names],
    )
