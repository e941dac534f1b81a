"""What the catalog remembers of changes: the history by which the next one is judged, and the marks on points."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from sqlite3 import Connection, Row

from dr.catalog.values import micros, moment
from dr.evidence.acts import Trust
from dr.evidence.change import Change, Past
from dr.evidence.record import BackupRun
from dr.evidence.seal import encode
from dr.evidence.suspicion import Mark

#: The history handed out of a source: the newest captures, and the loudest of the time before.
NEWEST, LOUDEST, MEMORY = 200, 20, timedelta(days=400)

#: What a change says when nothing happened: that much is not kept of each.
_PLAIN = encode(Change())
_ORDINARY = """
    select at, body, exists (select 1 from marks t where t.run_id = c.run_id and t.reason is not null) as trusted
    from changes c where system = :system and source = :source and at <= :now
        and not exists (
            select 1 from marks m where m.run_id = c.run_id and m.reason is not null and m.trusted is null)"""
_NEWEST = f"{_ORDINARY} order by at desc limit {NEWEST}"
_LOUDEST = f"{_ORDINARY} and loud > 0 and at > :since order by loud desc limit {LOUDEST}"


def note_run(db: Connection, run: BackupRun) -> None:
    """Keep what a run changed, and that its point is suspect. May be called twice."""
    if run.consistency_time is None:
        return
    at = micros(run.consistency_time)
    for source in run.sources:
        if change := source.change:
            told = {name: value for name, value in encode(change).items() if value != _PLAIN[name]}
            body = json.dumps(told, separators=(",", ":"))
            row = (run.run_id, source.source, run.system, at, change.loudness, body)
            db.execute("insert or replace into changes values (?, ?, ?, ?, ?, ?)", row)
    if run.suspect:
        db.execute(
            "insert into marks values (?, ?, ?, ?, null) on conflict (run_id) do update set reason = excluded.reason",
            (run.run_id, run.system, at, run.suspect),
        )


def note_trust(db: Connection, trust: Trust) -> None:
    """Keep that a person trusts a point. May be called twice."""
    db.execute(
        "insert into marks values (?, ?, ?, null, ?) on conflict (run_id) do update set trusted = excluded.trusted",
        (trust.point, trust.system, micros(trust.consistency_time), trust.because),
    )


def history(db: Connection, system: str, source: str, *, now: datetime) -> tuple[Past, ...]:
    """Return the ordinary changes of a source, the newest and the loudest; those not yet trusted are left out."""
    given = {"system": system, "source": source, "now": micros(now), "since": micros(now - MEMORY)}
    rows = {row["at"]: row for query in (_NEWEST, _LOUDEST) for row in db.execute(query, given)}
    return tuple(_past(row) for _, row in sorted(rows.items()))


#: What is kept of the changes of a source once they are old: more than is ever handed out.
_THIN_OUT = """
    delete from changes where system = :system and at < :before
        and not exists (select 1 from marks m where m.run_id = changes.run_id)
        and (source, at, run_id) not in (
            select source, at, run_id from (select source, at, run_id,
                row_number() over (partition by source order by at desc) as nth from changes where system = :system)
            where nth <= :newest)
        and (source, at, run_id) not in (
            select source, at, run_id from (select source, at, run_id,
                row_number() over (partition by source order by loud desc) as nth from changes
                where system = :system and loud > 0 and at > :since) where nth <= :loudest)"""


def thin_out(db: Connection, system: str, *, before: int) -> None:
    """Drop the changes from before a time (microseconds) that no judgement will ask for: neither new nor loud.

    Those of points that are, or were, suspect stay.
    """
    since = before - MEMORY // timedelta(microseconds=1)
    given = {"newest": NEWEST + 50, "loudest": 3 * LOUDEST, "system": system, "before": before, "since": since}
    db.execute(_THIN_OUT, given)


def marks(db: Connection, systems: Sequence[str] | None = None) -> dict[str, list[Mark]]:
    """Return the marks on points, by system; of some systems, or of all."""
    query = "select * from marks where ? is null or system in (select value from json_each(?))"
    chosen = json.dumps(list(systems)) if systems is not None else None
    found: dict[str, list[Mark]] = {}
    for row in db.execute(query, (chosen, chosen)):
        found.setdefault(row["system"], []).append(_mark(row))
    return found


def _past(row: Row) -> Past:
    return Past(moment(row["at"]), Change.of(json.loads(row["body"])), trusted=bool(row["trusted"]))


def _mark(row: Row) -> Mark:
    return Mark(
        run_id=row["run_id"],
        system=row["system"],
        consistency_time=moment(row["consistency"]),
        reason=row["reason"],
        trusted=row["trusted"],
    )
