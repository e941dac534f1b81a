"""What replicas hold that their primary no longer has, and how long that counts.

Known from looking, not from evidence: a catalog that is made anew begins to count anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from sqlite3 import Connection

from dr.catalog.values import micros, moment
from dr.evidence.forgetting import Absence


def read(db: Connection, system: str, target: str) -> list[Absence]:
    """Return what was kept of one replica."""
    rows = db.execute("select * from absences where system = ? and target = ? order by name", (system, target))
    return [
        Absence(
            name=row["name"],
            size=row["size"],
            since=moment(row["since"]),
            seen=moment(row["seen"]),
            waited=row["waited"],
            state=row["state"],
            judged=row["judged"],
            point=row["point"],
        )
        for row in rows
    ]


def keep(db: Connection, system: str, target: str, absences: Iterable[Absence]) -> None:
    """Put these in the place of what was kept."""
    db.execute("delete from absences where system = ? and target = ?", (system, target))
    db.executemany(
        "insert into absences values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (system, target, x.name, x.size, micros(x.since), micros(x.seen), x.waited, x.state, x.judged, x.point)
            for x in absences
        ],
    )


def told(db: Connection, system: str, target: str) -> None:
    """Drop what is gone: a fact tells of it now."""
    db.execute("delete from absences where system = ? and target = ? and state = 'gone'", (system, target))
