"""Which repository a system has on each target: known from looking, so that another in its place is told from it."""

from __future__ import annotations

from sqlite3 import Connection

from dr.catalog.values import moment
from dr.evidence.look import Known

_HELD = """
    select c.target, count(*) as points, max(coalesce(c.seen, p.finished)) as seen
    from copies c join points p using (run_id)
    where p.system = ? and c.complete = 1 and c.destroyed = 0 group by c.target"""


def known(db: Connection, system: str) -> dict[str, Known]:
    """Return by target what is on record of a system's repository there."""
    held = {row["target"]: row for row in db.execute(_HELD, (system,))}
    rows = {row["target"]: row for row in db.execute("select * from repositories where system = ?", (system,))}
    found = {}
    for target in held.keys() | rows.keys():
        points, row = held.get(target), rows.get(target)
        found[target] = Known(
            id=row["id"] if row else "",
            config=row["config"] if row else "",
            points=points["points"] if points else 0,
            seen=moment(points["seen"]) if points else None,
            begun=bool(row and row["begun"]),
        )
    return found
