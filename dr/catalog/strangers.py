"""Snapshots that were met on targets and are of no run on record; and the id by which this installation marks its own.

A snapshot never changes, so it is read once. Whether it is a stranger is asked of the record each time: a rebuild may
have taken it over since.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from sqlite3 import Connection

from dr.catalog.values import ref_key
from dr.evidence.look import Stranger

_OWN = "installation"
_UNKNOWN = """
    select * from strangers s where system = ? and target = ?
        and not exists (select 1 from copies c where c.run_id = s.run_id and c.target = s.target)
    order by run_id, snapshot"""


def installation(db: Connection) -> str:
    """Return this installation's id; made when there is none yet."""
    db.execute("insert or ignore into meta values (?, ?)", (_OWN, secrets.token_hex(4)))
    return str(db.execute("select value from meta where key = ?", (_OWN,)).fetchone()[0])


def take_over(db: Connection, made_by: str) -> None:
    """Be the installation that made what was found: it goes on here."""
    db.execute("insert or replace into meta values (?, ?)", (_OWN, made_by))


_IS_KNOWN = """
    select exists (select 1 from runs where run_id = :id) or exists (select 1 from points where run_id = :id)
        or exists (select 1 from evidence where ref = :id) or exists (select 1 from folded where ref_key = :key)"""


def is_known(db: Connection, run_id: str) -> bool:
    """Whether a run is on record here."""
    return bool(db.execute(_IS_KNOWN, {"id": run_id, "key": ref_key(run_id)}).fetchone()[0])


def read(db: Connection, system: str, target: str) -> list[Stranger]:
    """Return what was met on a target and belongs to no point on record there."""
    return [
        Stranger(
            snapshot=row["snapshot"], run_id=row["run_id"], installation=row["installation"], machine=row["machine"]
        )
        for row in db.execute(_UNKNOWN, (system, target))
    ]


def keep(db: Connection, system: str, target: str, met: Iterable[Stranger]) -> None:
    """Keep what was met."""
    rows = [(system, target, each.snapshot, each.run_id, each.installation, each.machine) for each in met]
    db.executemany("insert or replace into strangers values (?, ?, ?, ?, ?, ?)", rows)
