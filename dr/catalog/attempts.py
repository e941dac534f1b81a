"""When each verb was last attempted: one row for a system, verb and scenario, kept beside the runs it is read from.

Asked every minute for every system, so it must not take longer the more runs there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from sqlite3 import Connection
from typing import Any

from dr.catalog.values import moment
from dr.evidence.system_status import Attempts

#: The last of a group of runs by a moment, each found at one place of an index: begun, not interrupted, worked.
_LAST = """
    select (select max(started) from runs where {of} and started <= {by}) as begun,
        (select started from runs where {of} and started <= {by} and outcome is not 'aborted'
            order by started desc limit 1) as settled,
        (select started from runs where {of} and started <= {by} and outcome in ('ok', 'degraded')
            order by started desc limit 1) as worked"""
_EVER = _LAST.format(of="system = :system and verb = :verb and scenario = :scenario", by=str(2**62))
_BY = _LAST.format(of="system = :system and verb = :verb and scenario = :scenario", by=":now")
_KEEP = "insert or replace into attempts select :system, :verb, :scenario, begun, settled, worked from "
_NOTE = f"{_KEEP}({_EVER})"
_ALL = "select * from attempts where system in (select value from json_each(:systems))"


def note(db: Connection, *, system: str, verb: str, scenario: str) -> None:
    """Bring one row up to date with the runs: after one was opened, or has ended."""
    db.execute(_NOTE, {"system": system, "verb": verb, "scenario": scenario})


def read(db: Connection, systems: Sequence[str], *, now: int) -> dict[tuple[str, str], Attempts]:
    """Return by (system, verb) when something was attempted; drills once more for each scenario, as `drill:SCENARIO`.

    Runs that bear a later time than `now` (microseconds), from before the clock was set back, do not count.
    """
    found: dict[tuple[str, str], Attempts] = {}
    for row in _rows(db, {"systems": json.dumps(list(systems)), "now": now}):
        whole, part = (row["system"], row["verb"]), _attempts_of(row)
        found[whole] = found[whole].or_later(part) if whole in found else part
        if row["scenario"]:
            found[row["system"], f"{row['verb']}:{row['scenario']}"] = part
    return found


def _rows(db: Connection, given: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for row in db.execute(_ALL, given).fetchall():
        if row["begun"] <= given["now"]:
            yield row
            continue
        named = {name: row[name] for name in ("system", "verb", "scenario")}
        earlier = db.execute(_BY, {**named, **given}).fetchone()
        if earlier["begun"] is not None:
            yield {**named, **dict(earlier)}


def _attempts_of(row: Mapping[str, Any]) -> Attempts:
    begun, settled, worked = row["begun"], row["settled"], row["worked"]
    at = moment(begun)
    settled_at = at if settled == begun else moment(settled) if settled else None
    return Attempts(
        begun=at, settled=settled_at, worked=settled_at if worked == settled else moment(worked) if worked else None
    )


def newest(db: Connection) -> int | None:
    """Return the latest start that any run bears, in microseconds; None when there is none."""
    (found,) = db.execute("select max(begun) from attempts").fetchone()
    return None if found is None else int(found)
